"""Tables and plots of the methods and the leaderboard: `python -m zoo.table` fills docs/methods.md and README.md."""

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from zoo import HERE, is_floor
from zoo.classical import FEATURES
from zoo.listing import listing
from zoo.scatter_plot import draw, mean_and_error
from zoo.verdicts import verdicts

ROOT = HERE.parents[1]
DOCS = ROOT / "docs"
PAGES = (DOCS / "methods.md", DOCS / "trials.md", ROOT / "README.md")
READINGS = ("knn", "chosen.knn", "linear_few", "linear", "chosen.linear")
SCORES = ("acc", "nmi", "ari")
HEADS = (
    *("method", "kNN", "kNN, chosen layer", "linear, 10 labels", "linear, all labels", "linear, chosen layer"),
    *("k-means ACC", "NMI", "TFLOP", "seconds", "above"),
)
SHORT_HEADS = ("method", "kNN", "linear probe", "training, s")
CLUSTER_HEADS = ("method", "clusters", "ACC", "NMI", "ARI", "k-means ACC", "NMI", "ARI")
BLOCK = re.compile(
    r"(?P<start><!-- (?P<kind>methods|sensitivity|(?:zoo(?P<short> in short)?|trials): (?P<data>\w+)) -->\n).*?"
    r"(?P<end><!-- /(?:methods|sensitivity|zoo|trials) -->)",
    re.DOTALL,
)


def main() -> None:
    """Fill the pages between their markers, and plot accuracy by compute for each data set."""
    found = read(HERE)
    for data, runs in found.groupby("data") if len(found) else ():
        draw(runs, DOCS / f"zoo-{data}.png")
    for page in PAGES:
        page.write_text(filled(page.read_text(encoding="utf-8"), found), encoding="utf-8")


def filled(page: str, found: pd.DataFrame) -> str:
    """The page with the list of methods and the tables of all measured data sets between its markers."""

    def fill(block: re.Match[str]) -> str:
        body = contents(block, found)
        return f"{block['start']}\n{body}\n{block['end']}" if body else block[0]

    return BLOCK.sub(fill, page)


def contents(block: re.Match[str], found: pd.DataFrame) -> str:
    """The text between two markers; "" if it has not been measured."""
    if block["kind"] == "methods":
        return listing(ROOT / "src/repflow/methods")
    if block["kind"] == "sensitivity":
        return sensitivity(HERE / "sensitivity")
    if block["kind"].startswith("trials"):
        return trials(HERE / "trials" / f"{block['data']}.csv")
    runs = found[found["data"] == block["data"]] if len(found) else found
    if runs.empty:
        return ""
    if block["short"]:
        return f"{short(runs)}\n{conditions(runs)}\n"
    plot = f"![Accuracy against operations](zoo-{block['data']}.png)"
    parts = (table(runs), f"{conditions(runs)}\n", f"{plot}\n", clusters(runs))
    return "\n".join(part for part in parts if part)


def conditions(runs: pd.DataFrame) -> str:
    """The conditions of the measurements: random seeds, images and machines."""
    seeds = sorted(set(runs["seed"]))
    numbers = ", ".join(map(str, seeds))
    error = f"Seeds {numbers}; ± is the standard error over seeds." if len(seeds) > 1 else f"Seed {numbers}."
    seen = sorted({int(images) for images in runs.loc[~runs["method"].map(is_untrained), "images"]})
    images = (
        f"Images seen by each method: {' to '.join(f'{each:,}' for each in sorted({seen[0], seen[-1]}))}."
        if seen
        else ""
    )
    machines = sorted(set(runs["machine"].dropna()))
    measured = f"Seconds on {'; '.join(machines)}." if machines else ""
    return " ".join(sentence for sentence in (error, images, measured) if sentence)


def is_untrained(name: str) -> bool:
    """Whether an entry is a baseline without any training of an encoder."""
    return is_floor(name) or name in FEATURES


def read(folder: Path) -> pd.DataFrame:
    """A row for every run that has metrics."""
    rows = []
    for path in sorted((folder / "metrics").glob("*/*.json")):
        name, _, seed = path.stem.rpartition("-")
        costs = folder / "costs" / path.parent.name / path.name
        values = {"seconds": math.nan, "machine": None, **flat(json.loads(path.read_text(encoding="utf-8")))}
        values |= json.loads(costs.read_text(encoding="utf-8")) if costs.is_file() else {}
        rows.append({"data": path.parent.name, "method": name, "seed": int(seed), **values})
    return pd.DataFrame(rows)


def flat(values: Mapping[str, Any], head: str = "") -> dict[str, Any]:
    """Nested values by name, with dots between levels."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        found |= flat(value, f"{head}{name}.") if isinstance(value, Mapping) else {f"{head}{name}": value}
    return found


def table(runs: pd.DataFrame, folder: Path = HERE / "right") -> str:
    """A row for every method, the best linear probe first: means over random seeds, ± their standard error.

    Args:
        runs: of one data set.
        folder: DATA/METHOD-SEED.safetensors there has the test images that were right.
    """
    order = ordered(runs)
    rows = int(runs["rows"].max()) if "rows" in runs and runs["rows"].notna().any() else 0
    above = verdicts(folder / str(runs["data"].iloc[0]), order, rows) if rows else {}
    lines = [HEADS, ("---", *["---:"] * (len(HEADS) - 2), "---")]
    for name in order:
        each = runs[runs["method"] == name]
        cells = [_share(each[reading]) if reading in each else "" for reading in READINGS]
        cells += [_share(each[f"clusters.k_means.{score}"]) for score in ("acc", "nmi")]
        cells += [f"{each['flops'].mean() / 1e12:.3g}", _seconds(each)]
        lines.append((f"`{name}`", *cells, above.get(name, "")))
    return _rows(lines)


def short(runs: pd.DataFrame) -> str:
    """The same with fewer columns."""
    lines = [SHORT_HEADS, ("---", *["---:"] * (len(SHORT_HEADS) - 1))]
    for name in ordered(runs):
        each = runs[runs["method"] == name]
        lines.append((f"`{name}`", _share(each["knn"]), _share(each["linear"]), _seconds(each)))
    return _rows(lines)


def ordered(runs: pd.DataFrame) -> list[str]:
    """The methods, sorted by the linear probe with all labels, best first."""
    return [str(name) for name in runs.groupby("method")["linear"].mean().sort_values(ascending=False).index]


def clusters(runs: pd.DataFrame) -> str:
    """A row for every method that assigns clusters, with k-means on the same features and as many clusters as classes
    for comparison; "" if there is none."""
    if "clusters.own.acc" not in runs:
        return ""
    lines = [CLUSTER_HEADS, ("---", *["---:"] * (len(CLUSTER_HEADS) - 1))]
    for name, each in runs.dropna(subset=["clusters.own.acc"]).groupby("method"):
        found = ", ".join(f"{count:.0f}" for count in each.sort_values("seed")["clusters.own.clusters"])
        scores = [_share(each[f"clusters.{whose}.{score}"]) for whose in ("own", "k_means") for score in SCORES]
        lines.append((f"`{name}`", found, *scores))
    return _rows(lines)


def sensitivity(folder: Path) -> str:
    """Number of clusters that DeepDPM found, and their accuracy: a row for each `evidence`, a column for each
    `components`; "" if it was not measured."""
    found = {
        tuple(map(int, path.stem.split("-"))): json.loads(path.read_text(encoding="utf-8"))
        for path in folder.glob("*-*.json")
    }
    if not found:
        return ""
    rows, columns = (sorted({key[axis] for key in found}) for axis in (0, 1))
    lines = [("`evidence`", *(f"`components` {each}" for each in columns)), ("---:", *["---"] * len(columns))]
    for row in rows:
        cells = [found.get((row, column)) for column in columns]
        texts = [f"{each['clusters']} clusters, ACC {each['acc']:.3f}" if each else "" for each in cells]
        lines.append((f"{row:,}", *texts))
    return _rows(lines)


def trials(path: Path) -> str:
    """A row for every trial of a method's settings (`zoo.try`), by method, in the order in which they were made."""
    if not path.is_file():
        return ""
    found = pd.read_csv(path, dtype=str, keep_default_na=False).sort_values("method", kind="stable")
    heads = [str(column).replace("_", " ") for column in found.columns]
    lines = [tuple(heads), ("---", "---", *["---:"] * (len(heads) - 2))]
    for row in found.itertuples(index=False):
        method, changes, *numbers = map(str, row)
        lines.append((f"`{method}`", " ".join(f"`{change}`" for change in changes.split()), *numbers))
    return _rows(lines)


def _rows(lines: list[tuple[str, ...]]) -> str:
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _seconds(runs: pd.DataFrame) -> str:
    return f"{runs['seconds'].mean():.0f}".replace("nan", "")


def _share(values: pd.Series) -> str:
    mean, error = mean_and_error(values)
    if math.isnan(mean):  # the classical features have no kNN and no clusters
        return ""
    return f"{mean:.3f} ± {error:.3f}" if len(values) > 1 else f"{mean:.3f}"


if __name__ == "__main__":
    main()
