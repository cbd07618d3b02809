"""Pairs of plots that differ between two revisions."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from repflow.review.snapshot import Confusion, Curve, Snapshot

_POINTS = 40
"""Maximum number of points of a curve in a comment."""


@dataclass(frozen=True)
class CurvePair:
    """The same curve in two revisions."""

    base: Curve
    head: Curve

    @property
    def x(self) -> str:
        """Name of the column of the x axis."""
        return self.head.x

    @property
    def y(self) -> str:
        """Name of the column of the y axis."""
        return self.head.y

    def points(self) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
        """(x, y) of base and of head, without missing values; float64 [N] each."""
        before, after = (
            each.table[[each.x, self.y]].dropna().to_numpy(np.float64).T for each in (self.base, self.head)
        )
        return (before[0], before[1]), (after[0], after[1])

    def common(self) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
        """Both interpolated at common x values, where both are defined; float64 [N], N from 0 to `_POINTS`."""
        (x0, y0), (x1, y1) = self.points()
        if not len(x0) or not len(x1):
            return np.empty(0), (np.empty(0), np.empty(0))
        first, last = max(x0[0], x1[0]), min(x0[-1], x1[-1])
        places = np.linspace(first, last, min(_POINTS, len(x1))) if last > first else np.empty(0)
        return places, (np.interp(places, x0, y0), np.interp(places, x1, y1))


@dataclass(frozen=True)
class PlotPair:
    """A plot that differs between base and head: either curves or confusion matrices."""

    path: str
    curves: CurvePair | None = None
    confusions: tuple[Confusion, Confusion] | None = None


def changed_plots(base: Snapshot, head: Snapshot) -> Iterator[PlotPair]:
    """The plots that exist in both revisions and differ."""
    for path, curve in head.curves.items():
        before = base.curves.get(path)
        if before is not None and curve.y in before.table and not before.table.equals(curve.table):
            yield PlotPair(path, curves=CurvePair(before, curve))
    for path, confusion in head.confusions.items():
        other = base.confusions.get(path)
        if other is not None and _cells(other) != _cells(confusion):
            yield PlotPair(path, confusions=(other, confusion))


def _cells(confusion: Confusion) -> Counter[tuple[str, str]]:
    return Counter(zip(confusion.actual.tolist(), confusion.predicted.tolist(), strict=True))


def changed_cells(plot: PlotPair, most: int = 12) -> list[tuple[str, str, int, int]]:
    """The cells of a confusion matrix with the largest change: actual, predicted, count in base, count in head."""
    assert plot.confusions is not None
    before, after = map(_cells, plot.confusions)
    cells = [(*cell, before[cell], after[cell]) for cell in before.keys() | after.keys() if before[cell] != after[cell]]
    return sorted(cells, key=lambda cell: (-abs(cell[3] - cell[2]), cell))[:most]
