"""predict: labels for images and folders, as a table, CSV or JSON."""

import csv
import io
import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from repflow.atomic import writing
from repflow.errors import DataError
from repflow.evaluation.prediction import Prediction, predict

COLUMNS = ("path", "label", "probability", "reason")


def run(paths: list[Path], model: Path, form: str, top: int = 1, output: Path | None = None) -> None:
    """Predict `paths` with the classifier in `model` and write the rows to `output`, or to the terminal.

    Args:
        paths: files and folders.
        model: folder of a trained classifier.
        form: "table", "csv" or "json".
        top: rows for each image, the likeliest class first.
        output: file to write, whole or not at all.

    Raises:
        DataError: there is no usable model; or, after everything was written, some files could not be read.
    """
    predictions = list(predict(model, paths, top))
    text = _FORMS[form]([row for prediction in predictions for row in rows(prediction)])
    if output is None:
        # Names of files may hold bytes that are no text.
        sys.stdout.write(text.encode("utf-8", "backslashreplace").decode("utf-8"))
    else:
        with writing(output) as fresh:
            fresh.write_text(text, encoding="utf-8", errors="backslashreplace", newline="")
    unreadable = sum(prediction.reason is not None for prediction in predictions)
    if unreadable:
        raise DataError(f"{unreadable:,} of {len(predictions):,} files cannot be read; they are listed with the reason")


def rows(prediction: Prediction) -> list[dict[str, Any]]:
    """One row of `COLUMNS` for each class, or one with the reason."""
    if prediction.reason is not None:
        return [dict(zip(COLUMNS, (prediction.path, None, None, prediction.reason), strict=True))]
    return [
        dict(zip(COLUMNS, (prediction.path, label, round(probability, 6), None), strict=True))
        for label, probability in prediction.classes
    ]


def _as_csv(table: Iterable[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    return text.getvalue()


def _as_json(table: Iterable[dict[str, Any]]) -> str:
    lines = (json.dumps(row, ensure_ascii=False) for row in table)
    return "[\n  " + ",\n  ".join(lines) + "\n]\n"


def _as_table(table: Iterable[dict[str, Any]]) -> str:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    lines = [(row["path"], row["label"] or "-", _percent(row["probability"]), row["reason"] or "") for row in table]
    shown = Table(box=None, pad_edge=False)
    for name in COLUMNS if any(line[-1] for line in lines) else COLUMNS[:-1]:
        shown.add_column(name, justify="right" if name == "probability" else "left", overflow="fold")
    for line in lines:
        shown.add_row(*(Text(cell) for cell in line[: len(shown.columns)]))
    text = io.StringIO()
    Console(file=text, width=None if sys.stdout.isatty() else 200).print(shown)
    return text.getvalue()


def _percent(probability: float | None) -> str:
    return "" if probability is None else f"{probability:.1%}"


_FORMS: dict[str, Callable[[Iterable[dict[str, Any]]], str]] = {"table": _as_table, "csv": _as_csv, "json": _as_json}
