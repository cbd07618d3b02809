"""Two sides of a comparison, one revision or several seeds each, put beside each other."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from repflow.errors import ParameterError
from repflow.evaluation.intervals import Interval
from repflow.review.estimates import Estimate, better_when
from repflow.review.snapshot import Confusion, Snapshot
from repflow.review.stages import StageChange, changed_stages
from repflow.review.verdicts import Verdict, mean_interval, means, other_rows, same_rows, separate, verdict


@dataclass(frozen=True)
class MetricChange:
    """A metric that is not the same on both sides.

    Attributes:
        file: that holds it.
        name: points between the levels.
        base: its value, or its mean over the seeds, with its interval; None where it is not there.
        head: the same.
        change: head less base with its 95 % interval, None where none can be had.
        basis: what the interval rests on: "same rows", "other rows", "separate intervals", "seeds" or "".
        better: 1 where more is better, -1 where less is, None where neither is.
        verdict: what may be said.
    """

    file: str
    name: str
    base: Estimate | None
    head: Estimate | None
    change: Interval | None
    basis: str
    better: int | None
    verdict: Verdict


@dataclass(frozen=True)
class Comparison:
    """What differs between two sides.

    Attributes:
        base: one snapshot, or several that differ in their seed.
        head: the same of the other side.
        metrics: those that differ, the worse first.
        parameters: name to the values on both sides, None where there is none.
        stages: those that differ between the first of each side.
        notes: what a reader must know before the figures are believed.
    """

    base: Sequence[Snapshot]
    head: Sequence[Snapshot]
    metrics: list[MetricChange]
    parameters: dict[str, tuple[Any, Any]]
    stages: list[StageChange]
    notes: list[str]

    def verdicts(self, kind: Verdict) -> list[MetricChange]:
        """The metrics with the verdict `kind`."""
        return [each for each in self.metrics if each.verdict is kind]


def compare(base: Sequence[Snapshot], head: Sequence[Snapshot]) -> Comparison:
    """Put two sides beside each other.

    Raises:
        ParameterError: one side has several revisions and the other only one.
    """
    if (len(base) == 1) != (len(head) == 1):
        alone = base[0] if len(base) == 1 else head[0]
        raise ParameterError(
            f"{alone.revision}: one run cannot be held against several; name two or more on each side, or one on each"
        )
    seeds = len(base) > 1
    metrics = [_over_seeds(*each) if seeds else _of_one(*each, base[0], head[0]) for each in _pairs(base, head)]
    changed = sorted((each for each in metrics if each is not None), key=lambda each: _ORDER.index(each.verdict))
    return Comparison(
        base,
        head,
        changed,
        _parameters(base[0], head[0], {"seed"} if seeds else set()),
        changed_stages(base[0].lock, head[0].lock),
        [*_notes_on_seeds(base), *_notes_on_seeds(head), *_notes_on_records([*base, *head])],
    )


_ORDER = (Verdict.WORSE, Verdict.BETTER, Verdict.NOISE, Verdict.CHANGED, Verdict.ADDED, Verdict.REMOVED)


def _pairs(
    base: Sequence[Snapshot], head: Sequence[Snapshot]
) -> Iterator[tuple[str, str, list[Estimate | None], list[Estimate | None]]]:
    """Each metric's file and name, and what every revision of each side says of it."""
    names = {
        (file, name): None for each in [*head, *base] for file, metrics in each.metrics.items() for name in metrics
    }
    for file, name in names:
        before, after = ([each.metrics.get(file, {}).get(name) for each in side] for side in (base, head))
        yield file, name, before, after


def _of_one(
    file: str,
    name: str,
    bases: list[Estimate | None],
    heads: list[Estimate | None],
    base_of: Snapshot,
    head_of: Snapshot,
) -> MetricChange | None:
    (base,), (head,), better = bases, heads, better_when(name)
    if base == head:
        return None
    if base is None or head is None:
        found = Verdict.ADDED if base is None else Verdict.REMOVED
        return MetricChange(file, name, base, head, None, "", better, found)
    change, basis = _interval(name, base, head, base_of, head_of)
    return MetricChange(file, name, base, head, change, basis, better, verdict(change, better))


def _interval(
    name: str, base: Estimate, head: Estimate, base_of: Snapshot, head_of: Snapshot
) -> tuple[Interval | None, str]:
    before, after = _tested(name, base, base_of), _tested(name, head, head_of)
    if before is not None and after is not None and before.same_rows(after):
        return same_rows(before.right, after.right, after.groups), "same rows"
    if before is not None and after is not None and before.groups is None and after.groups is None:
        return other_rows(before.right, after.right), "other rows"
    numbers = [
        Interval(each.number, each.low, each.high)
        for each in (base, head)
        if each.number is not None and each.low is not None and each.high is not None
    ]
    change = separate(*numbers) if len(numbers) == 2 else None
    return change, "separate intervals" if change else ""


def _tested(name: str, estimate: Estimate, snapshot: Snapshot) -> Confusion | None:
    """The test rows that an accuracy was counted on: those of plots/confusion/MODEL.DOMAIN for MODEL.DOMAIN.accuracy.

    None where they are not there, or give another accuracy than the metric says, and so are of another run.
    """
    for path, confusion in snapshot.confusions.items():
        if name == f"{PurePosixPath(path).stem}.accuracy" and estimate.number is not None and len(confusion.right):
            return confusion if abs(confusion.right.mean() - estimate.number) < _ROUNDING else None
    return None


_ROUNDING = 1e-4
"""Metrics are written to four digits behind the point."""


def _over_seeds(
    file: str, name: str, bases: list[Estimate | None], heads: list[Estimate | None]
) -> MetricChange | None:
    before, after = ([each.number for each in side if each is not None] for side in (bases, heads))
    base, head = ([number for number in side if number is not None] for side in (before, after))
    if len(base) < len(bases) or len(head) < len(heads) or set(base) | set(head) == {base[0]}:
        return None  # not a number in every run, or the same in all of them
    change, better = means(base, head), better_when(name)
    before_mean, after_mean = (Estimate(*astuple(mean_interval(side))) for side in (base, head))
    return MetricChange(
        file, name, before_mean, after_mean, change, "seeds" if change else "", better, verdict(change, better)
    )


def _parameters(base: Snapshot, head: Snapshot, without: set[str]) -> dict[str, tuple[Any, Any]]:
    before, after = base.parameters, head.parameters
    names = [name for name in {**after, **before} if name not in without]
    both = {name: (before.get(name), after.get(name)) for name in names}
    return {name: values for name, values in both.items() if values[0] != values[1]}


def _notes_on_seeds(side: Sequence[Snapshot]) -> Iterator[str]:
    for each in side[1:]:
        differing = _parameters(side[0], each, set())
        if "seed" not in differing:
            yield f"{side[0].revision} and {each.revision} have the same seed: they are not two independent runs"
        others = [name for name in differing if name != "seed"]
        if others:
            yield f"{side[0].revision} and {each.revision} differ in more than the seed: {_listed(others)}"


def _notes_on_records(snapshots: Sequence[Snapshot]) -> Iterator[str]:
    for each in snapshots:
        if each.stale:
            yield (
                f"{each.revision}: the figures are not of its code and parameters, run `dvc repro` there; "
                f"out of date: {_listed(list(each.stale))}"
            )
        if each.missing:
            yield f"{each.revision}: not there or unreadable: {_listed(each.missing)}"


def _listed(names: Sequence[str], most: int = 8) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(f"`{name}`" for name in names[:most]) + more


def as_json(comparison: Comparison) -> dict[str, Any]:
    """The comparison as plain values."""
    return {
        "base": [_revision(each) for each in comparison.base],
        "head": [_revision(each) for each in comparison.head],
        "notes": comparison.notes,
        "verdicts": {kind.value: len(comparison.verdicts(kind)) for kind in Verdict},
        "metrics": [
            {
                "file": each.file,
                "name": each.name,
                "base": _estimate(each.base),
                "head": _estimate(each.head),
                "change": None if each.change is None else _plain(vars(each.change)),
                "basis": each.basis,
                "better": {1: "higher", -1: "lower", None: None}[each.better],
                "verdict": each.verdict.value,
            }
            for each in comparison.metrics
        ],
        "parameters": {name: {"base": old, "head": new} for name, (old, new) in comparison.parameters.items()},
        "stages": [vars(each) | {"unexplained": each.unexplained} for each in comparison.stages],
    }


def _revision(snapshot: Snapshot) -> dict[str, Any]:
    return {
        "name": snapshot.revision.name,
        "commit": snapshot.revision.commit,
        "seed": snapshot.parameters.get("seed"),
        "stale": snapshot.stale,
    }


def _estimate(estimate: Estimate | None) -> dict[str, Any] | None:
    return None if estimate is None else _plain(vars(estimate))


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """JSON knows no infinite number."""
    return {name: None if isinstance(each, float) and not np.isfinite(each) else each for name, each in values.items()}
