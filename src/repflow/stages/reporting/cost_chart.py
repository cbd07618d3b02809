"""The chart of accuracy against work."""

import math
from collections.abc import Sequence

import numpy as np

from repflow.stages.reporting.charts import Estimate, title_above
from repflow.stages.reporting.style import PAPER, QUIET, Picture, new_axes, picture

_LETTERS = 20
"""Of a name that fit beside the chart."""


def cost_chart(
    name: str, alt: str, title: str, estimates: Sequence[Estimate], work: Sequence[float], unit: str, colour: str
) -> Picture:
    """Each estimate with its interval over the work that went into it, on a logarithmic scale; names at the right.

    Args:
        name: of the picture.
        alt: what it shows.
        title: above the chart.
        estimates: in any order.
        work: above 0, one number an estimate.
        unit: of the work.
        colour: of the dots.
    """
    axes = new_axes(2.7, left=0.55, right=1.45, top=0.36, bottom=0.48)
    ends = [end for each in estimates for end in (each.low, each.high)]
    margin = 0.06 * max(max(ends) - min(ends), 0.05)
    bottom, top = min(ends) - margin, max(ends) + margin
    heights = spread([(each.value - bottom) / (top - bottom) for each in estimates], gap=0.09)
    for each, place, height in zip(estimates, work, heights, strict=True):
        axes.annotate(
            each.label if len(each.label) <= _LETTERS else f"{each.label[: _LETTERS - 1]}…",
            (place, each.value),
            (1.05, height),
            textcoords="axes fraction",
            va="center",
            fontsize=8.5,
            arrowprops={"arrowstyle": "-", "color": QUIET, "lw": 0.5, "shrinkA": 1, "shrinkB": 3},
        )
        axes.plot([place, place], [each.low, each.high], color=colour, lw=2.4, alpha=0.3, solid_capstyle="round")
        axes.plot(place, each.value, "o", color=colour, ms=5.5, mec=PAPER, mew=0.8)
    axes.set_xscale("log")
    axes.set_xlim(min(work) / 1.6, max(work) * 1.6)
    axes.set_xticks(round_numbers(min(work) / 1.6, max(work) * 1.6))
    axes.minorticks_off()
    axes.xaxis.set_major_formatter(lambda number, _: f"{number:,g}")
    axes.set_ylim(bottom, top)
    axes.yaxis.set_major_formatter(lambda number, _: f"{100 * number:.0f} %")
    axes.locator_params(axis="y", nbins=5)
    axes.set_xlabel(unit)
    title_above(axes, title)
    return picture(name, alt, axes.figure)  # type: ignore[arg-type]


def spread(heights: Sequence[float], gap: float) -> list[float]:
    """The same heights in [0, 1], moved as far as it takes to stand `gap` apart, in the same order."""
    order = np.argsort(heights, kind="stable")
    moved = np.asarray(heights, float)[order]
    for at in range(1, len(moved)):
        moved[at] = max(moved[at], moved[at - 1] + gap)
    ceiling = 1.0
    for at in reversed(range(len(moved))):
        moved[at] = min(moved[at], ceiling)
        ceiling = moved[at] - gap
    return [float(moved[at]) for at in np.argsort(order)]


def round_numbers(low: float, high: float) -> list[float]:
    """Up to six of 1, 2, 5, 10, 20, ... between `low` and `high`; powers of ten alone where there would be more."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in ((1, 2, 5), (1,)):
        found = [step * 10.0**power for power in powers for step in steps if low <= step * 10.0**power <= high]
        if len(found) <= 6:
            break
    return found
