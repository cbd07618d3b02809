"""Prediction of image files with a trained classifier."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from repflow.data.ingest.resizing import ImageFormat
from repflow.data.ingest.sources.contract import Elsewhere, nowhere
from repflow.data.ingest.sources.files import File, OnDisk, decode_files
from repflow.data.ingest.sources.folder import find_files
from repflow.encoders import Classifier
from repflow.encoders.ensemble import Ensemble
from repflow.encoders.model_files import load_classifier
from repflow.errors import DataError
from repflow.evaluation.features import probabilities

_AT_ONCE = 4096
"""Files decoded and predicted together."""
_PIXELS = 2**28
"""Most bytes of their pixels."""


@dataclass(frozen=True)
class Prediction:
    """The prediction for one file.

    Attributes:
        path: the file's path, as given or found.
        classes: class names and probabilities in [0, 1], the most probable first; empty for an unreadable file.
        reason: why the file cannot be read; None if it can.
    """

    path: str
    classes: tuple[tuple[str, float], ...]
    reason: str | None = None


def predict(model: Path, paths: Sequence[Path], top: int = 1, elsewhere: Elsewhere = nowhere) -> Iterator[Prediction]:
    """Predict image files and folders of them, with the preprocessing that the model was trained with.

    Args:
        model: folder of a trained classifier.
        paths: files and folders. A file that cannot be read gets a reason instead of classes.
        top: number of most probable classes to return per file.
        elsewhere: the folders outside of a searched folder that links in it may lead to.

    Yields:
        A prediction for each file, in the order of `paths`, within a folder in the order of the files' paths.

    Raises:
        DataError: the folder holds no usable classifier, or one of `paths` is a folder without images.
    """
    classifier, description = load_classifier(model)
    try:
        form = ImageFormat(**description.preprocessing)
    except TypeError as error:
        raise DataError(f"{model}/model.json: preprocessing: {error}; train the model again") from error
    files = iter([file for path in paths for file in _files(path, elsewhere)])
    at_once = max(1, min(_AT_ONCE, _PIXELS // (form.channels * form.size**2)))
    while part := list(itertools.islice(files, at_once)):
        yield from _predict_part(classifier, description.classes, form, part, top)


def _files(path: Path, elsewhere: Elsewhere) -> Iterable[File]:
    if not path.is_dir():
        return [File(str(path), OnDisk(path), 0)]
    found, _ = find_files(path, elsewhere)
    return [File(str(path / file.path), file.content, file.size) for file in found]


def _predict_part(
    classifier: Classifier | Ensemble, classes: tuple[str, ...], form: ImageFormat, files: list[File], top: int
) -> Iterator[Prediction]:
    # Files come back sorted by name: numbered, they keep their order.
    numbered = [File(f"{number:06d}", file.content, file.size) for number, file in enumerate(files)]
    collected = decode_files(numbered, form)
    likely = probabilities(classifier, collected.images)
    order = np.argsort(-likely, axis=1, kind="stable")[:, :top]
    for file, row, reason in zip(files, collected.listing["index"], collected.listing["reason"], strict=True):
        if row < 0:
            yield Prediction(file.path, (), str(reason))
        else:
            yield Prediction(file.path, tuple((classes[each], float(likely[row, each])) for each in order[row]))
