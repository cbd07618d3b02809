"""Scatter plot of accuracy by training compute, with a label for every method."""

import itertools
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from zoo import CEILING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Annotation
    from matplotlib.transforms import Bbox

Place = tuple[float, float]

FAR = 16
"""Distance in points from which a label needs a line to its point."""


def mean_and_error(values: pd.Series) -> tuple[float, float]:
    """Mean and standard error of the mean, which is 0 for a single value."""
    numbers = values.to_numpy(np.float64)
    return float(numbers.mean()), float(numbers.std(ddof=1) / len(numbers) ** 0.5) if len(numbers) > 1 else 0.0


def draw(runs: pd.DataFrame, path: Path) -> None:
    """Write the plot: accuracy of the linear probe with all labels, with its standard error, by floating-point
    operations of training; baselines without training as lines."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogFormatter

    figure = Figure(figsize=(11, 8))
    axes = figure.add_axes((0.07, 0.07, 0.91, 0.91))
    places: dict[str, Place] = {}
    styles = itertools.cycle((":", "--", "-.", (0, (1, 4)), (0, (8, 2))))
    for name, each in runs.groupby("method"):
        accuracy, error = mean_and_error(each["linear"])
        if not each["flops"].any():  # nothing was trained
            axes.axhline(accuracy, color="grey", linestyle=next(styles), label=str(name).replace("_", " "))
            continue
        places[str(name)] = mean_and_error(each["flops"])[0] / 1e12, accuracy
        colour = "black" if name == CEILING else "tab:blue"
        axes.errorbar(*places[str(name)], yerr=error, fmt="o", color=colour, markersize=4, elinewidth=0.8)
    axes.set(xscale="log", xlabel="training, TFLOP", ylabel="accuracy of the linear probe")
    for axis in (axes.xaxis.set_major_formatter, axes.xaxis.set_minor_formatter):
        axis(LogFormatter(minor_thresholds=(2, 0.5)))
    axes.margins(x=0.12, y=0.06)
    axes.legend(loc="upper right")
    write_names(axes, places)
    figure.savefig(path, dpi=110, metadata={"Software": None})


def write_names(axes: "Axes", places: dict[str, Place]) -> "list[Annotation]":
    """Place each label as near to its point as possible without covering points or labels; crowded points come last."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(axes.figure)  # type: ignore[arg-type]
    canvas.draw()  # type: ignore[no-untyped-call]
    renderer = canvas.get_renderer()  # type: ignore[no-untyped-call]
    points = {name: np.asarray(axes.transData.transform(place)) for name, place in places.items()}
    taken = [_box(point, 8, 8) for point in points.values()]
    legend = axes.get_legend()
    taken += [legend.get_window_extent(renderer)] if legend is not None else []
    room = axes.get_window_extent(renderer)
    written = []
    for name in sorted(points, key=lambda one: _crowd(points[one], points)):
        text = axes.annotate(name.replace("_", " "), places[name], (0, 0), textcoords="offset points", fontsize=8)
        size = text.get_window_extent(renderer)
        for x, y in OFFSETS:
            side = np.sign(x) * size.width / 2, 0
            box = _box(points[name] + np.multiply((x, y), axes.figure.dpi / 72) + side, size.width + 2, size.height + 2)
            if all(map(room.contains, box.intervalx, box.intervaly)) and not box.count_overlaps(taken):
                break
        taken.append(box)
        text.set_position((x, y))
        text.set(ha={1: "left", -1: "right", 0: "center"}[int(np.sign(x))], va="center")
        written.append(text)
        if np.hypot(x, y) > FAR:
            line = {"arrowstyle": "-", "color": "grey", "linewidth": 0.5, "shrinkA": 0, "shrinkB": 3}
            axes.annotate("", places[name], (x, y), textcoords="offset points", arrowprops=line)
    return written


def _offsets() -> list[Place]:
    """Candidate offsets of a label from its point: near ones first, left and right before above and below."""
    angles = np.radians([0, 180, 25, -25, 155, -155, 90, -90, 50, -50, 130, -130])
    return [
        (round(distance * np.cos(angle), 1), round(max(distance, 8) * np.sin(angle), 1))
        for distance in (6, *range(10, 160, 6))
        for angle in angles
    ]


OFFSETS = _offsets()


def _box(centre: np.ndarray, width: float, height: float) -> "Bbox":
    from matplotlib.transforms import Bbox

    return Bbox.from_bounds(centre[0] - width / 2, centre[1] - height / 2, width, height)


def _crowd(point: np.ndarray, points: dict[str, np.ndarray]) -> float:
    """How crowded the surroundings of a point are."""
    away = np.array([np.abs((other - point) / (3, 1)).sum() for other in points.values()])
    return float(np.exp(-away / 15).sum())
