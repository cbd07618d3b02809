"""The command `suggest`: which unlabelled images of the source to label next, as a table and as a page to fill in."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from repflow.data.read.rows import Domain, Rows, Side
from repflow.data.watched import LABELS, labels_file, watched, with_home
from repflow.encoders import Classifier
from repflow.encoders.ensemble import Ensemble
from repflow.encoders.model_files import AnyDescription, load_classifier
from repflow.errors import DataError
from repflow.evaluation.features import encode, probabilities
from repflow.evaluation.label_suggestions import suggest
from repflow.files import writing
from repflow.stages import paths
from repflow.stages.image_grids import as_png
from repflow.stages.parameters import read_all, read_raw, seed
from repflow.stages.project import open_project_domain
from repflow.stages.reporting.content import percent
from repflow.stages.reporting.page import render
from repflow.stages.tabular import as_csv

COLUMNS = ("path", "guess", "confidence", "second_guess", "reason", "label")

log = logging.getLogger("repflow")


@dataclass(frozen=True)
class Suggestion:
    """One image to label.

    Attributes:
        path: as the manifest has it.
        guess: the most probable class.
        confidence: its probability, in [0, 1].
        second: the second most probable class; "" where there is only one.
        reason: why it is suggested, in words.
        image: PNG.
    """

    path: str
    guess: str
    confidence: float
    second: str
    reason: str
    image: bytes


def run(count: int, model: Path | None = None) -> None:
    """Write `reports/suggestions.csv` and `reports/suggestions.html`.

    Args:
        count: how many images to suggest at most.
        model: folder of a trained classifier; None for `models/best` where it is there, else `models/finetune`.

    Raises:
        DataError: there is no usable classifier, it is for other images, or no image is unlabelled.
    """
    folder = model or default_model()
    classifier, description = load_classifier(folder)
    source = open_project_domain("source")
    found = suggestions(source, classifier, description, count, folder)
    classes = list(dict.fromkeys([*source.classes, *description.classes]))
    with writing(paths.REPORTS / "suggestions.csv") as fresh:
        fresh.write_text(as_csv(COLUMNS, map(_cells, found)), encoding="utf-8", newline="")
    page = render("suggestions.html.j2", suggestions=found, classes=classes)
    with writing(paths.REPORTS / "suggestions.html") as fresh:
        fresh.write_text(page, encoding="utf-8")
    log.info("suggest: %d images to label, by %s", len(found), folder.as_posix())
    if len(found) < count:
        log.info("suggest: all other unlabelled images are like these, or like labelled ones")
    log.info("suggest: open %s, or fill in the column `label` of suggestions.csv", paths.REPORTS / "suggestions.html")
    log.info("suggest: %s", how_to_add())
    budget = read_all().get("split", {}).get("labels_per_class")
    if budget is not None:
        log.warning(
            "suggest: split.labels_per_class is %s, and labels beyond it are not used; null uses all of them", budget
        )


def default_model() -> Path:
    """The folder of the classifier that is taken where none is named."""
    best = paths.MODELS / "best"
    return best if best.is_dir() else paths.MODELS / "finetune"


def suggestions(
    source: Domain, classifier: Classifier | Ensemble, description: AnyDescription, count: int, folder: Path
) -> list[Suggestion]:
    """The images to label next, the most useful first."""
    channels, size = source.store.images.shape[1:3]
    expected = {"size": size, "channels": channels}
    if any(description.preprocessing[name] != value for name, value in expected.items()):
        raise DataError(f"{folder}: is a model for images of another size than those in data/stores; run `dvc repro`")
    unlabelled = source.rows(Side.UNLABELLED)
    if not len(unlabelled):
        raise DataError("suggest: every training image of the source has a label, so there is nothing to suggest")
    likely = probabilities(classifier, unlabelled.images)
    labelled = source.rows(Side.LABELLED)
    chosen = suggest(
        encode(classifier.encoder, unlabelled.images),
        likely,
        encode(classifier.encoder, labelled.images),
        count,
        seed(),
    )
    return [
        _suggestion(source, unlabelled, int(row), likely[row], gain, description.classes)
        for row, gain in zip(chosen.rows, chosen.gains, strict=True)
    ]


def how_to_add() -> str:
    """What to do with `labels.csv`, for this project's source."""
    data = with_home(read_raw("data"))
    place = labels_file(data["source"], data.get("root", "."))
    if place is None:
        return "this source has no place for added labels; give its images as a folder, or list them in a table"
    seen = any(
        Path(place).absolute().is_relative_to(Path(each).absolute()) for each in watched(data, "source").values()
    )
    again = "`dvc repro`" if seen else "`repflow compose`, or `dvc exp run` with the same choices, so that DVC sees it"
    return f"put {LABELS} at {place}, then {again}"


def _suggestion(
    source: Domain, rows: Rows, row: int, likely: np.ndarray, gain: float, classes: tuple[str, ...]
) -> Suggestion:
    order = np.argsort(-likely, kind="stable")
    image = rows.images[row : row + 1][0].transpose(1, 2, 0)
    guess, second = classes[order[0]], classes[order[1]] if len(classes) > 1 else ""
    rival = f", {second} {percent(likely[order[1]])}" if second else ""
    return Suggestion(
        path=str(source.store.readable["path"].iloc[rows.index[row]]),
        guess=guess,
        confidence=float(likely[order[0]]),
        second=second,
        reason=f"{guess} {percent(likely[order[0]])}{rival}; covers {percent(gain)} of what is uncertain",
        image=as_png(np.broadcast_to(image, (*image.shape[:2], 3))),
    )


def _cells(suggestion: Suggestion) -> dict[str, Any]:
    """A line of the table, with an empty label."""
    confidence = f"{suggestion.confidence:.4f}"
    cells = (suggestion.path, suggestion.guess, confidence, suggestion.second, suggestion.reason, "")
    return dict(zip(COLUMNS, cells, strict=True))
