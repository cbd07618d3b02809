"""The command `predict`: predicted classes of images and folders, as a table, CSV or JSON."""

import functools
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from repflow.errors import DataError
from repflow.evaluation.prediction import Prediction, predict
from repflow.files import writing
from repflow.stages.linked_cache import linked_caches
from repflow.stages.tabular import as_csv, as_json, as_table

COLUMNS = ("path", "label", "probability", "reason")


def run(paths: list[Path], model: Path, form: str, top: int = 1, output: Path | None = None) -> None:
    """Classify `paths` with the classifier in `model`, and write the predictions to `output` or to the terminal.

    Args:
        paths: image files and folders.
        model: folder of a trained classifier.
        form: output format, "table", "csv" or "json".
        top: number of classes per image, the most probable first.
        output: file to write (atomically); None for the terminal.

    Raises:
        DataError: there is no usable model; or, after the output was written, some files could not be decoded.
    """
    predictions = list(predict(model, paths, top, linked_caches))
    text = _FORMS[form]([row for prediction in predictions for row in rows(prediction)])
    if output is None:
        # File names may have bytes that are not valid UTF-8.
        sys.stdout.write(text.encode("utf-8", "backslashreplace").decode("utf-8"))
    else:
        with writing(output) as fresh:
            fresh.write_text(text, encoding="utf-8", errors="backslashreplace", newline="")
    unreadable = sum(prediction.reason is not None for prediction in predictions)
    if unreadable:
        raise DataError(
            f"{unreadable:,} of {len(predictions):,} files cannot be decoded; the column `reason` says why for each"
        )


def rows(prediction: Prediction) -> list[dict[str, Any]]:
    """One row of `COLUMNS` per class, or one row with the reason why the file cannot be decoded."""
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
