"""The command `cost`: time, memory, compute and energy of the trainings on this machine, with their accuracies."""

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from repflow.errors import DataError
from repflow.stages import paths
from repflow.stages.tabular import as_csv, as_json, as_table

ORDER = ("pretrain", "tune", "finetune")
FIGURES = {
    "seconds": "seconds",
    "images_per_second": "images/s",
    "waiting": "waiting",
    "memory_bytes": "memory",
    "gpu_memory_bytes": "GPU memory",
    "flops": "TFLOP",
    "energy_kwh": "Wh",
}
"""Keys of a stage's record, and their column headers."""
COLUMNS = ("stage", "source_accuracy", "target_accuracy", *FIGURES, "energy_method")
SUMS = ("seconds", "flops", "energy_kwh")


def run(form: str) -> None:
    """Print the costs in the format `form`: "table", "csv" or "json".

    Raises:
        DataError: nothing has been trained in this checkout yet.
    """
    folder = paths.STATE / "cost"
    rows = read_rows(folder, paths.METRICS / "evaluate.json")
    if not rows:
        raise DataError(
            f"{folder}: nothing has been trained in this checkout (results restored from DVC's cache have no record);"
            " run `dvc repro`"
        )
    sys.stdout.write(_FORMS[form](rows))


def read_rows(folder: Path, evaluation: Path) -> list[dict[str, Any]]:
    """One row of `COLUMNS` for each record in `folder`, in the order of the pipeline."""
    scores = json.loads(evaluation.read_text(encoding="utf-8")) if evaluation.is_file() else {}
    records = {path.relative_to(folder).with_suffix("").as_posix(): path for path in sorted(folder.rglob("*.json"))}
    names = [name for name in ORDER if name in records] + [name for name in records if name not in ORDER]
    return [_row(name, json.loads(records[name].read_text(encoding="utf-8")), scores) for name in names]


def _row(name: str, record: Mapping[str, Any], scores: Mapping[str, Any]) -> dict[str, Any]:
    found = scores.get(name.removeprefix("adapt/"), {}) if name not in ORDER[:2] else {}
    accuracies = {f"{domain}_accuracy": found.get(domain, {}).get("accuracy") for domain in ("source", "target")}
    return {"stage": name, **accuracies, **{key: record.get(key) for key in COLUMNS[3:]}}


def _as_table(rows: Sequence[Mapping[str, Any]]) -> str:
    sums: dict[str, Any] = {key: sum(known) if (known := _known(rows, key)) else None for key in SUMS}
    lines = [_line(row) for row in [*rows, {"stage": "total", **sums}]]
    used = [at for at, cells in enumerate(zip(*lines, strict=True)) if any(cells)]
    columns = ("stage", "source", "target", *FIGURES.values())
    table = as_table([columns[at] for at in used], [[line[at] for at in used] for line in lines], columns[1:])
    methods = list(dict.fromkeys(str(row["energy_method"]) for row in rows))
    return f"{table}\nEnergy: {'; '.join(methods)}.\n"


def _known(rows: Iterable[Mapping[str, Any]], key: str) -> list[float]:
    return [row[key] for row in rows if row[key] is not None]


def _line(row: Mapping[str, Any]) -> list[str]:
    def cell(key: str, show: Callable[[float], str]) -> str:
        return "" if row.get(key) is None else show(row[key])

    return [
        row["stage"],
        cell("source_accuracy", "{:.1%}".format),
        cell("target_accuracy", "{:.1%}".format),
        cell("seconds", "{:,.1f}".format),
        cell("images_per_second", "{:,.0f}".format),
        cell("waiting", "{:.1%}".format),
        cell("memory_bytes", _mebibytes),
        cell("gpu_memory_bytes", _mebibytes),
        cell("flops", lambda flops: f"{flops / 1e12:,.3f}"),
        cell("energy_kwh", lambda energy: f"{1000 * energy:,.3f}"),
    ]


def _mebibytes(size: float) -> str:
    return f"{size / 2**20:,.0f} MiB"


_FORMS: dict[str, Callable[[list[dict[str, Any]]], str]] = {
    "table": _as_table,
    "csv": partial(as_csv, COLUMNS),
    "json": as_json,
}
