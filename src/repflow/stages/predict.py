"""predict: labels for images and folders, as a table, CSV or JSON."""

import functools
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from repflow.errors import DataError
from repflow.evaluation.prediction import Prediction, predict
from repflow.files import writing
from repflow.stages.tabular import as_csv, as_json, as_table

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


def _as_table(table: Iterable[dict[str, Any]]) -> str:
    lines = [(row["path"], row["label"] or "-", _percent(row["probability"]), row["reason"] or "") for row in table]
    columns = COLUMNS if any(line[-1] for line in lines) else COLUMNS[:-1]
    return as_table(columns, [line[: len(columns)] for line in lines], numeric=("probability",))


def _percent(probability: float | None) -> str:
    return "" if probability is None else f"{probability:.1%}"


_FORMS: dict[str, Callable[[list[dict[str, Any]]], str]] = {
    "table": _as_table,
    "csv": functools.partial(as_csv, COLUMNS),
    "json": as_json,
}
