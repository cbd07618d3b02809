"""Training curves as TSV for `dvc plots`: one row per logged step, one column per metric."""

from collections.abc import Mapping
from pathlib import Path

from repflow.files import writing

Curve = list[dict[str, float]]
"""Points in the order of their steps; each has the key `step`."""


def write_curve(path: Path, curve: Curve) -> None:
    """Write `curve` to `path`, numbers to six significant digits, empty where a point lacks the metric."""
    columns = list(dict.fromkeys(name for point in curve for name in point)) or ["step"]
    lines = ["\t".join(columns), *("\t".join(_cell(point, name) for name in columns) for point in curve)]
    with writing(path) as fresh:
        fresh.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _cell(point: Mapping[str, float], name: str) -> str:
    return f"{point[name]:.6g}" if name in point else ""
