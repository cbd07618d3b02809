"""Training curves: losses in one panel, accuracies and other shares in another."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from repflow.stages.reporting.style import LINES, WIDTH, Graphic, render_chart

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_HEIGHT = 2.0
_SHARES = ("accuracy", "validation", "confident", "share")
"""Words in the names of quantities between 0 and 1."""


def read_curve(path: Path) -> pd.DataFrame:
    """The points of a training curve, one row each; empty if the file is missing."""
    return pd.read_csv(path, sep="\t") if path.is_file() else pd.DataFrame({"step": []})


def curve_chart(name: str, alt: str, title: str, curve: pd.DataFrame) -> Graphic:
    """The curves of one training by step."""
    from matplotlib.figure import Figure

    losses, shares = panels(curve)
    groups = [group for group in (losses, shares) if group]
    figure = Figure(figsize=(WIDTH, _HEIGHT))
    figure.text(0.06 / WIDTH, 1 - 0.06 / _HEIGHT, title, weight="bold", fontsize=10.5, va="top")
    width = 0.97 / max(1, len(groups))
    for position, group in enumerate(groups):
        axes = figure.add_axes((position * width + 0.1, 0.13, width - 0.11, 0.58))
        for line, column in reversed(list(enumerate(group))):
            points = curve[["step", column]].dropna()
            axes.plot(points["step"], points[column], lw=1.1 if line else 1.7, color=LINES[line])
        if group is shares:
            axes.set_ylim(min(0.5, float(np.nanmin(curve[group].to_numpy())) - 0.02), 1.02)
            axes.yaxis.set_major_formatter(lambda number, _: f"{100 * number:.0f} %")
        axes.set_xlim(0, curve["step"].max())
        axes.locator_params(nbins=4)
        axes.tick_params(labelsize=8.5)
        _legend(figure, position * width + 0.015, group)
    return render_chart(name, alt, figure)


def _legend(figure: "Figure", left: float, names: list[str]) -> None:
    """The legend: the names of the lines in their colours, in one row."""
    for name, colour in zip(names, LINES, strict=False):
        text = name.replace("_", " ")
        figure.text(left, 0.765, text, color=colour, fontsize=8.4)
        left += 0.023 + 0.0164 * len(text)


def panels(curve: pd.DataFrame) -> tuple[list[str], list[str]]:
    """The columns with losses and those with shares, at most three each."""
    numbers = [name for name in curve.columns if name not in ("step", "learning_rate") and curve[name].notna().any()]
    shares = [name for name in numbers if any(word in name for word in _SHARES) and "loss" not in name]
    losses = [name for name in numbers if name not in shares]
    shares.sort(key=lambda name: name != "validation")
    return losses[: len(LINES)], shares[: len(LINES)]
