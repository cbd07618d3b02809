"""Compare two sides, with one revision or several random seeds each."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from repflow.errors import ParameterError
from repflow.evaluation.intervals import Interval
from repflow.review.baseline import standings
from repflow.review.estimates import Estimate, better_direction
from repflow.review.significance import (
    Assessment,
    assess,
    change_of_estimates,
    change_of_means,
    mean_interval,
    paired_change,
    unpaired_change,
)
from repflow.review.snapshot import Confusion, Snapshot
from repflow.review.stages import StageChange, changed_stages


@dataclass(frozen=True)
class MetricChange:
    """A metric that differs between both sides.

    Attributes:
        file: the metrics file.
        name: name of the metric, with dots between levels.
        base: its value, or its mean over the seeds, with its confidence interval; None if it does not exist there.
        head: the same for the other side.
        change: head minus base with a 95 % confidence interval, None if there is no interval.
        basis: how the interval was computed: "same rows", "other rows", "separate intervals", "seeds" or "".
        better: 1 if more is better, -1 if less is better, None if neither.
        assessment: whether the change is significant, and in which direction.
    """

    file: str
    name: str
    base: Estimate | None
    head: Estimate | None
    change: Interval | None
    basis: str
    better: int | None
    assessment: Assessment


@dataclass(frozen=True)
class Comparison:
    """The differences between two sides.

    Attributes:
        base: one snapshot, or several with different random seeds.
        head: the same for the other side.
        metrics: the metrics that differ, worse ones first.
        parameters: name to the values on both sides, None where a parameter does not exist.
        stages: the stages that differ between the first snapshots of both sides.
        notes: reasons why the metrics may be unreliable.
    """

    base: Sequence[Snapshot]
    head: Sequence[Snapshot]
    metrics: list[MetricChange]
    parameters: dict[str, tuple[Any, Any]]
    stages: list[StageChange]
    notes: list[str]

    def assessed(self, kind: Assessment) -> list[MetricChange]:
        """The metrics with the assessment `kind`."""
        return [each for each in self.metrics if each.assessment is kind]


def compare(base: Sequence[Snapshot], head: Sequence[Snapshot]) -> Comparison:
    """Compare two sides.

    Raises:
        ParameterError: one side has several revisions and the other only one.
    """
    if (len(base) == 1) != (len(head) == 1):
        alone = base[0] if len(base) == 1 else head[0]
        raise ParameterError(
            f"{alone.revision}: one run cannot be compared with several; give two or more on each side, or one on each"
        )
    seeds = len(base) > 1
    metrics = [_over_seeds(*each) if seeds else _of_one(*each, base[0], head[0]) for each in _pairs(base, head)]
    changed = sorted((each for each in metrics if each is not None), key=lambda each: _ORDER.index(each.assessment))
    return Comparison(
        base,
        head,
        changed,
        _parameters(base[0], head[0], {"seed"} if seeds else set()),
        changed_stages(base[0].lock, head[0].lock, base[0].code, head[0].code),
        [*_notes_on_seeds(base), *_notes_on_seeds(head), *_notes_on_records([*base, *head])],
    )


_ORDER = (
    Assessment.WORSE,
    Assessment.BETTER,
    Assessment.NOISE,
    Assessment.CHANGED,
    Assessment.ADDED,
    Assessment.REMOVED,
)


def _pairs(
    base: Sequence[Snapshot], head: Sequence[Snapshot]
) -> Iterator[tuple[str, str, list[Estimate | None], list[Estimate | None]]]:
    """The file and name of each metric, with its values in every revision of both sides."""
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
    (base,), (head,), better = bases, heads, better_direction(name)
    if base == head:
        return None
    if base is None or head is None:
        assessment = Assessment.ADDED if base is None else Assessment.REMOVED
        return MetricChange(file, name, base, head, None, "", better, assessment)
    change, basis = _interval(name, base, head, base_of, head_of)
    return MetricChange(file, name, base, head, change, basis, better, assess(change, better))


def _interval(
    name: str, base: Estimate, head: Estimate, base_of: Snapshot, head_of: Snapshot
) -> tuple[Interval | None, str]:
    before, after = _tested(name, base, base_of), _tested(name, head, head_of)
    if before is not None and after is not None and before.same_rows(after):
        return paired_change(before.right, after.right, after.groups), "same rows"
    if before is not None and after is not None and before.groups is None and after.groups is None:
        return unpaired_change(before.right, after.right), "other rows"
    numbers = [
        Interval(each.number, each.low, each.high)
        for each in (base, head)
        if each.number is not None and each.low is not None and each.high is not None
    ]
    change = change_of_estimates(*numbers) if len(numbers) == 2 else None
    return change, "separate intervals" if change else ""


def _tested(name: str, estimate: Estimate, snapshot: Snapshot) -> Confusion | None:
    """The test rows of an accuracy: those of plots/confusion/MODEL.DOMAIN for the metric MODEL.DOMAIN.accuracy.

    None if they are missing, or give another accuracy than the metric and are thus from another run.
    """
    for path, confusion in snapshot.confusions.items():
        if name == f"{PurePosixPath(path).stem}.accuracy" and estimate.number is not None and len(confusion.right):
            return confusion if abs(confusion.right.mean() - estimate.number) < _ROUNDING else None
    return None


_ROUNDING = 1e-4
"""Metrics are rounded to four decimals."""


def _over_seeds(
    file: str, name: str, bases: list[Estimate | None], heads: list[Estimate | None]
) -> MetricChange | None:
    before, after = ([each.number for each in side if each is not None] for side in (bases, heads))
    base, head = ([number for number in side if number is not None] for side in (before, after))
    if len(base) < len(bases) or len(head) < len(heads) or set(base) | set(head) == {base[0]}:
        return None  # not a number in every run, or the same number in all runs
    change, better = change_of_means(base, head), better_direction(name)
    before_mean, after_mean = (Estimate(*astuple(mean_interval(side))) for side in (base, head))
    return MetricChange(
        file, name, before_mean, after_mean, change, "seeds" if change else "", better, assess(change, better)
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
                f"{each.revision}: the metrics do not match its code and parameters, run `dvc repro` there; "
                f"out of date: {_listed(list(each.stale))}"
            )
        if each.missing:
            yield f"{each.revision}: missing or unreadable: {_listed(each.missing)}"


def _listed(names: Sequence[str], most: int = 8) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(f"`{name}`" for name in names[:most]) + more


def as_json(comparison: Comparison) -> dict[str, Any]:
    """The comparison as JSON values."""
    return {
        "base": [_revision(each) for each in comparison.base],
        "head": [_revision(each) for each in comparison.head],
        "notes": comparison.notes,
        "assessments": {kind.value: len(comparison.assessed(kind)) for kind in Assessment},
        "metrics": [
            {
                "file": each.file,
                "name": each.name,
                "base": _estimate(each.base),
                "head": _estimate(each.head),
                "change": None if each.change is None else _plain(vars(each.change)),
                "basis": each.basis,
                "better": {1: "higher", -1: "lower", None: None}[each.better],
                "assessment": each.assessment.value,
            }
            for each in comparison.metrics
        ],
        "baseline": [
            {"what": each.what, "base": _estimate(each.base), "head": _estimate(each.head)}
            for each in standings(comparison.base, comparison.head)
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
    """The values with infinite numbers replaced by None, as JSON has none."""
    return {name: None if isinstance(each, float) and not np.isfinite(each) else each for name, each in values.items()}
