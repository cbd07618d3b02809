"""The stage `finetune`: train a classifier from the pretrained encoder, with labelled and unlabelled rows."""

from typing import Any

import numpy as np
import yaml

from repflow.data.read.rows import Domain, Rows, Side
from repflow.encoders.model_files import save_model
from repflow.stages import paths
from repflow.stages.cost import recorded
from repflow.stages.initial_model import describe, origin_metrics, starting_classifier
from repflow.stages.learning import Recipe, fit, read_recipe, within_budget, write_training
from repflow.stages.project import open_project_domain


def run() -> None:
    """Read the pretrained encoder, the source's rows and the result of the search; write `models/finetune/`."""
    with recorded("finetune") as meter:
        source = open_project_domain("source")
        recipe = read_recipe("finetune", found_by_search())
        rows, validation = finetuning_rows(source, recipe)
        recipe = within_budget(recipe, "finetune", rows)
        description = describe(recipe, source, source.classes)
        classifier, description = starting_classifier(recipe, description, source.store.images, rows["labelled"])
        method, trained = fit(recipe, classifier, rows, title="finetune", meter=meter, validation=validation)
        save_model(paths.MODELS / "finetune", method.learned, description)
        write_training("finetune", trained, origin_metrics(description))


def finetuning_rows(source: Domain, recipe: Recipe) -> tuple[dict[str, Rows], Rows]:
    """The streams of the fine-tuning, and the validation rows.

    The unlabelled stream has all training rows of the source, including the labelled rows. It shows the labels of these
    to methods that read them (`Method.reads_known_labels`), and no others.
    """
    labelled = source.labelled_rows(Side.LABELLED)
    unlabelled = source.rows(Side.LABELLED, Side.UNLABELLED)
    if recipe.method.reads_known_labels:
        unlabelled.labels[np.searchsorted(unlabelled.index, labelled.index)] = labelled.labels
    return {"labelled": labelled, "unlabelled": unlabelled}, source.labelled_rows(Side.VALIDATION)


def found_by_search() -> dict[str, Any]:
    """The best values in `models/tune/best.yaml`: keys below `finetune` to values."""
    found: dict[str, Any] = yaml.safe_load((paths.MODELS / "tune" / "best.yaml").read_text(encoding="utf-8")) or {}
    return found
