"""Each trained model beside the baseline, on both sides of a comparison, whether or not that has changed."""

from collections.abc import Sequence
from dataclasses import astuple, dataclass

from repflow.review.estimates import Estimate
from repflow.review.significance import mean_interval
from repflow.review.snapshot import Snapshot

FILE = "metrics/evaluate.json"
_OVER = ".over_baseline"
_OWN = "baseline."


@dataclass(frozen=True)
class Standing:
    """A line about the baseline.

    Attributes:
        what: "baseline.DOMAIN.accuracy", or the model whose accuracy minus that of the baseline it is.
        base: the value of that side, over several seeds the mean; None where it does not exist.
        head: the same for the other side.
    """

    what: str
    base: Estimate | None
    head: Estimate | None

    @property
    def is_difference(self) -> bool:
        """Whether it is a difference from the baseline, not the baseline itself."""
        return not self.what.startswith(_OWN)


def standings(base: Sequence[Snapshot], head: Sequence[Snapshot]) -> list[Standing]:
    """The accuracy of the baseline on each domain, and by how much each model is above it; [] without a baseline."""
    names = {
        name: None
        for each in (*base, *head)
        for name in each.metrics.get(FILE, {})
        if name.endswith(_OVER) or (name.startswith(_OWN) and name.endswith(".accuracy"))
    }
    ordered = sorted(names, key=lambda name: not name.startswith(_OWN))
    return [Standing(name.removesuffix(_OVER), _mean(base, name), _mean(head, name)) for name in ordered]


def in_words(over: Estimate) -> str:
    """Whether a model is above the baseline, by the interval of the difference."""
    if over.low is None or over.high is None:
        return "no interval"
    return "above" if over.low > 0 else "**below**" if over.high < 0 else "**not above**"


def _mean(side: Sequence[Snapshot], name: str) -> Estimate | None:
    found = [each.metrics.get(FILE, {}).get(name) for each in side]
    if len(found) == 1:
        return found[0]
    numbers = [each.number for each in found if each is not None and each.number is not None]
    return Estimate(*astuple(mean_interval(numbers))) if len(numbers) == len(found) else None
