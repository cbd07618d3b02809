"""The leaderboard as a table and a picture: `python -m zoo.table` fills docs/methods.md from the metrics."""

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from zoo import CEILING, FLOOR, HERE

PAGE = HERE.parents[1] / "docs" / "methods.md"
PICTURE = HERE.parents[1] / "docs" / "zoo-{data}.png"
READINGS = ("knn", "linear_few", "linear")
HEADS = ("method", "kNN", "linear, 10 labels", "linear, all labels", "k-means ACC", "NMI", "TFLOP", "seconds", "above")
BLOCK = re.compile(r"(<!-- zoo: (?P<data>\w+) -->\n).*?(<!-- /zoo -->)", re.DOTALL)
ENOUGH = 3.0
"""Standard errors by which a method has to lie above the floor, in kNN and in the linear probe with all labels."""


def main() -> None:
    """Write a table between each pair of markers, and a picture of accuracy against operations."""
    found = read(HERE)

    def filled(block: re.Match[str]) -> str:
        runs = found[found["data"] == block["data"]] if len(found) else found
        if runs.empty:
            return block[0]
        draw(runs, Path(str(PICTURE).format(data=block["data"])))
        return f"{block[1]}\n{table(runs)}\n{block[3]}"

    PAGE.write_text(BLOCK.sub(filled, PAGE.read_text(encoding="utf-8")), encoding="utf-8")


def read(folder: Path) -> pd.DataFrame:
    """A row for every run whose metrics are there."""
    rows = []
    for path in sorted((folder / "metrics").glob("*/*.json")):
        name, _, seed = path.stem.rpartition("-")
        costs = folder / "costs" / path.parent.name / path.name
        values = flat(json.loads(path.read_text(encoding="utf-8")))
        values |= json.loads(costs.read_text(encoding="utf-8")) if costs.is_file() else {}
        rows.append({"data": path.parent.name, "method": name, "seed": int(seed), **values})
    return pd.DataFrame(rows)


def flat(values: Mapping[str, Any], head: str = "") -> dict[str, Any]:
    """Nested values under names with points."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        found |= flat(value, f"{head}{name}.") if isinstance(value, Mapping) else {f"{head}{name}": value}
    return found


def table(runs: pd.DataFrame) -> str:
    """A line for every method, the best neighbours first: means over seeds, ± their standard error."""
    floor = runs[runs["method"] == FLOOR]
    order = runs.groupby("method")["knn"].mean().sort_values(ascending=False).index
    lines = [HEADS, ("---", *["---:"] * (len(HEADS) - 2), "---")]
    for name in order:
        each = runs[runs["method"] == name]
        cells = [_share(each[reading]) for reading in READINGS]
        cells += [_share(each[f"clusters.k_means.{score}"]) for score in ("acc", "nmi")]
        cells += [f"{each['flops'].mean() / 1e12:.3g}", f"{each['seconds'].mean():.0f}"]
        lines.append((f"`{name}`", *cells, "" if name in (FLOOR, CEILING) else verdict(each, floor)))
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def verdict(runs: pd.DataFrame, floor: pd.DataFrame) -> str:
    """Whether a method is above the floor by more than three standard errors of the difference, or too few seeds."""
    if min(len(runs), len(floor)) < 2:
        return f"{len(runs)} seed"
    above = []
    for reading in ("knn", "linear"):
        (mean, error), (least, other) = mean_and_error(runs[reading]), mean_and_error(floor[reading])
        above.append((mean - least) / max(math.hypot(error, other), 1e-9))
    return "yes" if min(above) > ENOUGH else f"no ({min(above):.1f} standard errors)"


def _share(values: pd.Series) -> str:
    mean, error = mean_and_error(values)
    return f"{mean:.3f} ± {error:.3f}" if len(values) > 1 else f"{mean:.3f}"


def mean_and_error(values: pd.Series) -> tuple[float, float]:
    """Mean and its standard error, 0 of a single value."""
    numbers = values.to_numpy(np.float64)
    return float(numbers.mean()), float(numbers.std(ddof=1) / len(numbers) ** 0.5) if len(numbers) > 1 else 0.0


def draw(runs: pd.DataFrame, path: Path) -> None:
    """Accuracy of the nearest neighbours against operations, a point for every method, with its standard error."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 6), layout="constrained")
    axes = figure.subplots()
    for name, each in runs.groupby("method"):
        if name == FLOOR:
            axes.axhline(each["knn"].mean(), color="grey", linestyle=":", label="random weights")
            continue
        knn, error = mean_and_error(each["knn"])
        place = mean_and_error(each["flops"])[0] / 1e12, knn
        axes.errorbar(*place, yerr=error, fmt="o", color="black" if name == CEILING else "tab:blue", markersize=4)
        axes.annotate(str(name).replace("_", " "), place, xytext=(4, 3), textcoords="offset points", fontsize=8)
    axes.set(xscale="log", xlabel="training, TFLOP", ylabel="accuracy of nearest neighbours")
    axes.legend(loc="lower right")
    figure.savefig(path, dpi=110, metadata={"Software": None})


if __name__ == "__main__":
    main()
