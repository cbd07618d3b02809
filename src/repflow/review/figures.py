"""Plots of two revisions as PNG files: curves in one chart, one confusion matrix for each revision."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from repflow.review.plots import CurvePair, PlotPair, changed_plots
from repflow.review.snapshot import Confusion, Snapshot
from repflow.stages.reporting.charts import confusion_chart
from repflow.stages.reporting.style import REFERENCE, SOURCE, TEXT, WIDTH, Graphic, new_axes, render_chart, report_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def write_figures(base: Snapshot, head: Snapshot, folder: Path) -> dict[str, list[str]]:
    """Draw every plot that differs.

    Returns:
        Path of each plot to the names of its figures in `folder`: one for a curve, two for a confusion matrix.
    """
    names: dict[str, list[str]] = {}
    with report_style():
        for plot in changed_plots(base, head):
            graphics = _confusions(plot) if plot.confusions else [_curve(plot)]
            for each in graphics:
                each.write(folder)
            names[plot.path] = [f"{each.name}.png" for each in graphics]
    return names


def _name(path: str) -> str:
    return Path(path).with_suffix("").as_posix().removeprefix("plots/").replace("/", ".")


def _curve(plot: PlotPair) -> Graphic:
    assert isinstance(plot.curves, CurvePair)
    name = _name(plot.path)
    axes = new_axes(2.6, left=0.6, right=0.15, top=0.4, bottom=0.45)
    for (x, y), colour, width in zip(plot.curves.points(), (REFERENCE, SOURCE), (1.3, 1.6), strict=True):
        axes.plot(x, y, color=colour, lw=width)
    axes.set_xlabel(plot.curves.x)
    _title(axes, f"{name}: {plot.curves.y}", (("base", REFERENCE), ("head", SOURCE)))
    return render_chart(name, f"{plot.curves.y} of base and head", axes.figure)  # type: ignore[arg-type]


def _title(axes: "Axes", title: str, sides: tuple[tuple[str, str], ...]) -> None:
    """A title at the left, and a legend with the names of the lines in their colours at the right."""
    figure = axes.figure
    height = figure.get_figheight()  # type: ignore[union-attr]
    figure.text(0.06 / WIDTH, 1 - 0.06 / height, title, weight="bold", color=TEXT, va="top")
    for place, (name, colour) in enumerate(reversed(sides)):
        figure.text(1 - (0.15 + 0.45 * place) / WIDTH, 1 - 0.06 / height, name, color=colour, ha="right", va="top")


def _confusions(plot: PlotPair) -> list[Graphic]:
    assert plot.confusions is not None
    classes = sorted({name for each in plot.confusions for name in np.union1d(each.actual, each.predicted)})
    sides = zip(("base", "head"), plot.confusions, strict=True)
    return [
        _confusion(f"{_name(plot.path)}.{side}", f"{_name(plot.path)}, {side}", each, classes) for side, each in sides
    ]


def _confusion(name: str, title: str, confusion: Confusion, classes: list[str]) -> Graphic:
    counts = np.zeros((len(classes), len(classes)), np.int64)
    np.add.at(counts, tuple(np.searchsorted(classes, side) for side in (confusion.actual, confusion.predicted)), 1)
    return confusion_chart(name, title, title, counts, classes)
