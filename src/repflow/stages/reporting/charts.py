"""Charts of the metrics: gains, confidence intervals, confusion matrices, calibration. Each fits a phone screen."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from repflow.stages.reporting.style import (
    BACKGROUND,
    GRID,
    MUTED_TEXT,
    REFERENCE,
    SOURCE,
    TARGET,
    TEXT,
    Graphic,
    new_axes,
    render_chart,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Estimate:
    """A labelled value with its confidence interval, and optionally a published value to compare it with."""

    label: str
    value: float
    low: float
    high: float
    published: float | None = None


_ROW = 0.28
"""Height of a row of an interval chart, in inches."""


def interval_chart(
    name: str,
    alt: str,
    title: str,
    estimates: Sequence[Estimate],
    colour: str,
    marks: Mapping[str, float] | None = None,
) -> Graphic:
    """A dot with its confidence interval for each estimate, with the values at the right.

    Args:
        name: file name of the figure, without its suffix.
        alt: alternative text.
        title: title above the chart.
        estimates: from top to bottom.
        colour: colour of the dots.
        marks: label to the position of a vertical line; with two lines, the area between them is shaded.
    """
    height = 0.62 + _ROW * len(estimates)
    axes = new_axes(height, left=1.48, right=0.68, top=0.36, bottom=0.28)
    positions = np.arange(len(estimates))[::-1]
    marks = marks or {}
    if len(marks) == 2:
        axes.axvspan(*marks.values(), color=REFERENCE, alpha=0.13, lw=0)
    for position in marks.values():
        axes.axvline(position, color=REFERENCE, lw=0.9, ls=(0, (3, 2)))
    for place, each in zip(positions, estimates, strict=True):
        axes.plot([each.low, each.high], [place, place], color=colour, lw=2.4, alpha=0.45, solid_capstyle="round")
        axes.plot(each.value, place, "o", color=colour, ms=5.5, mec=BACKGROUND, mew=0.8)
        if each.published is not None:
            axes.plot(each.published, place, "D", color="none", mec=TEXT, ms=4.5, mew=0.9)
        axes.annotate(
            f"{100 * each.value:.1f} %", (1.04, place), xycoords=("axes fraction", "data"), va="center", weight="bold"
        )
    axes.set_ylim(-0.6, len(estimates) - 0.4)
    axes.set_yticks(positions, [each.label for each in estimates], color=TEXT)
    axes.grid(axis="y", visible=False)
    ends = [end for each in estimates for end in (each.low, each.high, each.published or each.low)]
    _span(axes, [*ends, *marks.values()])
    add_title(axes, title)
    return render_chart(name, alt, axes.figure)  # type: ignore[arg-type]


def _span(axes: "Axes", numbers: Sequence[float]) -> None:
    low, high = min(numbers), max(numbers)
    margin = 0.06 * max(high - low, 0.05)
    axes.set_xlim(low - margin, high + margin)
    axes.locator_params(axis="x", nbins=4)
    axes.xaxis.set_major_formatter(lambda number, _: f"{100 * number:.0f} %")


def add_title(axes: "Axes", title: str) -> None:
    """Add a title, aligned with the left edge of the chart instead of its axes."""
    figure = axes.figure
    width, height = figure.get_size_inches()  # type: ignore[union-attr]
    figure.text(0.06 / width, 1 - 0.06 / height, title, weight="bold", fontsize=10.5, va="top")


def gain_chart(name: str, alt: str, before: Mapping[str, float], after: Mapping[str, float]) -> Graphic:
    """A line from each score with random weights to the same score with pretrained weights."""
    labels = {"linear": "linear probe", "knn": "kNN", "acc": "clusters, ACC", "nmi": "NMI", "ari": "ARI"}
    height = 0.62 + 0.33 * len(labels)
    axes = new_axes(height, left=1.18, right=0.68, top=0.36, bottom=0.28)
    for place, key in zip(range(len(labels))[::-1], labels, strict=True):
        low, high = before[key], after[key]
        axes.plot([low, high], [place, place], color=SOURCE, lw=2, alpha=0.35, zorder=1)
        axes.plot(low, place, "o", color=BACKGROUND, mec=REFERENCE, mew=1.5, ms=5.5)
        axes.plot(high, place, "o", color=SOURCE, mec=BACKGROUND, mew=0.8, ms=6.5)
        axes.annotate(
            f"{100 * (high - low):+.1f}".replace("-", "−"),
            (1.04, place),
            xycoords=("axes fraction", "data"),
            va="center",
            weight="bold",
        )
    axes.set_ylim(-0.6, len(labels) - 0.4)
    axes.set_yticks(range(len(labels))[::-1], list(labels.values()), color=TEXT)
    axes.grid(axis="y", visible=False)
    _span(axes, [*before.values(), *after.values()])
    add_title(axes, "Random weights (ring) and pretrained (dot)")
    return render_chart(name, alt, axes.figure)  # type: ignore[arg-type]


def confusion_chart(name: str, alt: str, title: str, counts: np.ndarray, classes: Sequence[str]) -> Graphic:
    """A confusion matrix: actual classes in rows, predicted classes in columns, shaded by the share of each row.

    Args:
        name: file name of the figure, without its suffix.
        alt: alternative text.
        title: title above the chart.
        counts: int [K, K].
        classes: K names.
    """
    from matplotlib.collections import PatchCollection
    from matplotlib.patches import Rectangle

    size = len(classes)
    axes = new_axes(3.9, left=0.62, right=0.12, top=0.34, bottom=0.55)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    for diagonal, colour in ((True, SOURCE), (False, TARGET)):
        cells = [(a, p) for a, p in zip(*np.nonzero(counts), strict=True) if (a == p) == diagonal]
        patches = [Rectangle((p - 0.46, a - 0.46), 0.92, 0.92) for a, p in cells]
        # An error rate of one in ten matters already, so the colour of errors rises faster.
        strength = [float(shares[cell] ** (1.0 if diagonal else 0.5)) for cell in cells]
        alphas = [0.08 + 0.72 * each for each in strength]
        if patches:
            axes.add_collection(PatchCollection(patches, facecolor=colour, lw=0, alpha=alphas))
        if size <= 15:
            for (a, p), alpha in zip(cells, alphas, strict=True):
                axes.text(p, a, f"{counts[a, p]}", ha="center", va="center", color=BACKGROUND if alpha > 0.66 else TEXT)
    axes.set_xlim(-0.5, size - 0.5)
    axes.set_ylim(size - 0.5, -0.5)
    step = -(-size // 20)
    ticks = range(0, size, step)
    names = [_shortened(classes[tick]) for tick in ticks]
    axes.set_xticks(ticks, names, color=TEXT, rotation=0 if max(map(len, names)) < 3 else 90)
    axes.set_yticks(ticks, names, color=TEXT)
    axes.grid(visible=False)
    axes.spines["bottom"].set_visible(False)
    axes.set_xlabel("predicted")
    axes.set_ylabel("actual")
    add_title(axes, title)
    return render_chart(name, alt, axes.figure)  # type: ignore[arg-type]


def _shortened(name: str) -> str:
    return name if len(name) <= 9 else f"{name[:8]}…"


def calibration_chart(
    name: str, alt: str, title: str, confidence: np.ndarray, accuracy: np.ndarray, rows: np.ndarray
) -> Graphic:
    """Reliability diagram: accuracy by confidence; the area of a dot is its share of the rows."""
    axes = new_axes(2.7, left=0.55, right=0.15, top=0.34, bottom=0.48)
    axes.plot([0, 1], [0, 1], color=REFERENCE, lw=0.9, ls=(0, (3, 2)))
    axes.vlines(confidence, confidence, accuracy, color=TARGET, lw=1.2, alpha=0.7)
    axes.scatter(confidence, accuracy, s=12 + 260 * rows / rows.sum(), color=SOURCE, alpha=0.85, lw=0.8, ec=BACKGROUND)
    axes.set_xlim(0, 1.04)
    axes.set_ylim(0, 1.07)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda number, _: f"{100 * number:.0f} %")
    axes.set_xlabel("confidence")
    axes.set_ylabel("accuracy")
    add_title(axes, title)
    return render_chart(name, alt, axes.figure)  # type: ignore[arg-type]


def search_chart(name: str, alt: str, numbers: np.ndarray, values: np.ndarray, complete: np.ndarray) -> Graphic:
    """The validation accuracy of every trial of a search, and the best so far."""
    axes = new_axes(2.4, left=0.55, right=0.15, top=0.34, bottom=0.42)
    best = np.maximum.accumulate(np.where(complete, values, -np.inf))
    axes.step(numbers[np.isfinite(best)], best[np.isfinite(best)], where="post", color=TARGET, lw=1.3)
    axes.plot(numbers[~complete], values[~complete], "x", color=REFERENCE, ms=4.5)
    axes.plot(numbers[complete], values[complete], "o", color=SOURCE, ms=4.5, mec=BACKGROUND, mew=0.6)
    axes.yaxis.set_major_formatter(lambda number, _: f"{100 * number:.0f} %")
    axes.locator_params(axis="x", integer=True)
    axes.set_xlabel("trial", color=MUTED_TEXT)
    axes.spines["bottom"].set_color(GRID)
    add_title(axes, "Validation accuracy of every trial")
    return render_chart(name, alt, axes.figure)  # type: ignore[arg-type]
