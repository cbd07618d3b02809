"""The model that a training starts from, and its description."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from repflow.data.read.memory_mapped import Images
from repflow.data.read.rows import Domain, Rows
from repflow.encoders import Classifier, Encoder, EncoderConfig, HeadConfig
from repflow.encoders.encoder import normalise_by
from repflow.encoders.model_files import Description, load_classifier, load_encoder, read_description
from repflow.encoders.pretrained import fill
from repflow.errors import ParameterError
from repflow.evaluation.features import encode
from repflow.evaluation.linear_probe import LinearConfig, fit_linear_probe, linear_classifier
from repflow.randomness.draws import seeded
from repflow.stages import paths
from repflow.stages.learning import Recipe
from repflow.stages.parameters import read, read_raw
from repflow.stages.starting_models import SOURCE_ONLY, model_of


def describe(recipe: Recipe, domain: Domain, classes: tuple[str, ...] = ()) -> Description:
    """The description of the model that `recipe` trains on images of `domain`."""
    channels, size = domain.store.images.shape[1:3]
    section = recipe.section
    return Description(
        encoder=section.encoder or read("encoder", EncoderConfig),
        head=section.head if classes else None,
        classes=classes,
        preprocessing={"size": size, "channels": channels, "resize": read_raw("data")["resize"]},
        provenance={
            "method": f"{section.family}.{section.name}",
            "settings": dataclasses.asdict(recipe.settings),
            "training": dataclasses.asdict(section.training),
            "start": section.start,
            "seed": recipe.seed,
            "torch": torch.__version__.split("+")[0],
        },
    )


def new_encoder(recipe: Recipe, description: Description, images: Images) -> tuple[Encoder, Description]:
    """The initial encoder, and its description.

    Its weights are random and depend only on the seed, unless its parameters ask for weights that others trained: then
    the description says where these come from. It normalises by the statistics of `images`, or as these weights need.
    """
    with seeded(recipe.seed, "weights/encoder"):
        encoder = description.new_encoder()
    normalise_by(encoder, images)
    origin = fill(encoder, description.encoder)
    return encoder, with_origin(description, origin)


def with_origin(description: Description, origin: Mapping[str, Any] | None) -> Description:
    """`description` with the origin of weights that others trained, if there is one, in its provenance."""
    if origin is None:
        return description
    return dataclasses.replace(description, provenance={**description.provenance, "weights": dict(origin)})


def origin_metrics(description: Description) -> dict[str, Any]:
    """The digest of the weights that others trained, for the metrics; empty without such weights."""
    origin = description.provenance.get("weights")
    return {"weights_sha256": origin["sha256"]} if origin else {}


def starting_classifier(
    recipe: Recipe,
    description: Description,
    images: Images,
    labelled: Rows | None = None,
) -> tuple[Classifier, Description]:
    """The initial classifier, and its description.

    Args:
        recipe: the method and its settings.
        description: of the model, from `describe`.
        images: give a new encoder the statistics that it normalises by.
        labelled: what a linear probe is fitted on, if it is to be the head.

    Raises:
        ParameterError: a linear probe is asked for, and the stage has none, or the head has hidden layers.
    """
    if recipe.section.start == SOURCE_ONLY:
        return _source_only(description)
    if recipe.section.start != "random":
        folder = paths.MODELS / "pretrain"
        encoder, pretrained = load_encoder(folder), read_description(folder)
        description = dataclasses.replace(description, encoder=pretrained.encoder)
        description = with_origin(description, pretrained.provenance.get("weights"))
    else:
        encoder, description = new_encoder(recipe, description, images)
    if recipe.section.start == "probed":
        if labelled is None or recipe.section.head != HeadConfig():
            raise ParameterError("start: probed is for fine-tuning, with a head without hidden layers and dropout")
        return probed(encoder, labelled), description
    with seeded(recipe.seed, "weights/head"):
        return description.new_classifier(encoder), description


def _source_only(description: Description) -> tuple[Classifier, Description]:
    """The classifier that was trained on the source alone, and `description` with its network."""
    classifier, trained = load_classifier(Path(model_of(SOURCE_ONLY)))
    assert isinstance(classifier, Classifier), "adapt@source_only trains one classifier"
    assert isinstance(trained, Description)
    description = dataclasses.replace(description, encoder=trained.encoder, head=trained.head)
    return classifier, with_origin(description, trained.provenance.get("weights"))


_UNSURE = LinearConfig(regularisation=(0.001,))
"""Regularised so much that the probe is not sure of anything: a fine-tuning that takes confident predictions for labels
would otherwise begin with its mistakes (docs/recipes.md)."""


def probed(encoder: Encoder, labelled: Rows) -> Classifier:
    """The encoder with a linear probe as its head."""
    features = encode(encoder, labelled.images)
    unseen = np.empty((0, encoder.width), np.float32), labelled.labels[:0]
    fitted = fit_linear_probe(_UNSURE, features, labelled.labels, *unseen)
    return linear_classifier(encoder, fitted, len(labelled.classes))
