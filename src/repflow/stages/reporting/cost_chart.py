"""The chart of accuracy against training compute."""

import math
from collections.abc import Sequence

import numpy as np

from repflow.stages.reporting.charts import Estimate, add_title
from repflow.stages.reporting.style import BACKGROUND, REFERENCE, Graphic, new_axes, render_chart

_LABEL_LENGTH = 20
"""Maximum number of characters of a label."""


def cost_chart(
    name: str, alt: str, title: str, estimates: Sequence[Estimate], work: Sequence[float], unit: str, colour: str
) -> Graphic:
    """Each estimate with its confidence interval over training compute, on a logarithmic scale; labels at the right.

    Args:
        name: file name of the figure, without its suffix.
        alt: alternative text.
        title: title above the chart.
        estimates: in any order.
        work: training compute of each estimate, above 0.
        unit: unit of the compute.
        colour: colour of the dots.
    """
    axes = new_axes(2.7, left=0.55, right=1.45, top=0.36, bottom=0.48)
    ends = [end for each in estimates for end in (each.low, each.high)]
    margin = 0.06 * max(max(ends) - min(ends), 0.05)
    bottom, top = min(ends) - margin, max(ends) + margin
    heights = spread_labels([(each.value - bottom) / (top - bottom) for each in estimates], gap=0.09)
    for each, place, height in zip(estimates, work, heights, strict=True):
        axes.annotate(
            each.label if len(each.label) <= _LABEL_LENGTH else f"{each.label[: _LABEL_LENGTH - 1]}…",
            (place, each.value),
            (1.05, height),
            textcoords="axes fraction",
            va="center",
            fontsize=8.5,
            arrowprops={"arrowstyle": "-", "color": REFERENCE, "lw": 0.5, "shrinkA": 1, "shrinkB": 3},
        )
        axes.plot([place, place], [each.low, each.high], color=colour, lw=2.4, alpha=0.3, solid_capstyle="round")
        axes.plot(place, each.value, "o", color=colour, ms=5.5, mec=BACKGROUND, mew=0.8)
    axes.set_xscale("log")
    axes.set_xlim(min(work) / 1.6, max(work) * 1.6)
    axes.set_xticks(round_ticks(min(work) / 1.6, max(work) * 1.6))
    axes.minorticks_off()
    axes.xaxis.set_major_formatter(lambda number, _: f"{number:,g}")
    axes.set_ylim(bottom, top)
    axes.yaxis.set_major_formatter(lambda number, _: f"{100 * number:.0f} %")
    axes.locator_params(axis="y", nbins=5)
    axes.set_xlabel(unit)
    add_title(axes, title)
    return render_chart(name, alt, axes.figure)  # type: ignore[arg-type]


def spread_labels(heights: Sequence[float], gap: float) -> list[float]:
    """Move heights in [0, 1] so that they are at least `gap` apart and keep their order."""
    order = np.argsort(heights, kind="stable")
    moved = np.asarray(heights, float)[order]
    for at in range(1, len(moved)):
        moved[at] = max(moved[at], moved[at - 1] + gap)
    ceiling = 1.0
    for at in reversed(range(len(moved))):
        moved[at] = min(moved[at], ceiling)
        ceiling = moved[at] - gap
    return [float(moved[at]) for at in np.argsort(order)]


def round_ticks(low: float, high: float) -> list[float]:
    """At most six ticks 1, 2, 5, 10, 20, ... between `low` and `high`; only powers of ten if there would be more."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in ((1, 2, 5), (1,)):
        found = [step * 10.0**power for power in powers for step in steps if low <= step * 10.0**power <= high]
        if len(found) <= 6:
            break
    return found
