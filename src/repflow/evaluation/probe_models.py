"""The probes of a frozen encoder as classifiers that predict as any other."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from repflow.data.read.rows import Rows
from repflow.encoders import Classifier, Encoder, HeadConfig, build_encoder
from repflow.encoders.build import ConcatenatedConfig
from repflow.encoders.classifier import AnyHeadConfig, build_head
from repflow.encoders.concatenated import ConcatenatedEncoder
from repflow.encoders.neighbours import NeighboursConfig, NeighbourVote
from repflow.evaluation.features import encode
from repflow.evaluation.knn import KNN
from repflow.evaluation.linear_probe import fit_linear_probe, linear_classifier
from repflow.evaluation.probes import ProbeConfig, Probes

MOST_NEIGHBOURS = 20_000
"""Labelled images that a kNN classifier carries at most, evenly spaced."""


@dataclass(frozen=True)
class ProbeModel:
    """A probe as a classifier, with the parameters of its encoder and its head."""

    classifier: Classifier
    encoder: Any
    head: AnyHeadConfig


def probe_models(
    config: ProbeConfig, encoder: Encoder, about: Any, probes: Probes, labelled: Rows, validation: Rows
) -> dict[str, ProbeModel]:
    """The linear probe, kNN, and a linear probe of the encoder's features beside oriented gradients.

    Args:
        config: parameters of the probes.
        encoder: the frozen encoder.
        about: its parameters, an `EncoderConfig`.
        probes: fitted on its features of the labelled images.
        labelled: rows with labels.
        validation: for the choice of the regularisation; may be empty.

    Returns:
        "linear", "knn" and, unless the images are too small for it or `config.hog` is None, "linear_hog".
    """
    classes = len(labelled.classes)
    models = {
        "linear": ProbeModel(linear_classifier(encoder, probes.linear, classes), about, HeadConfig()),
        "knn": _neighbours(encoder, about, probes.knn, classes),
    }
    channels, size = labelled.images.shape[1:3]
    if config.hog is None or size < 2 * config.hog.cells:
        return models
    gradients = build_encoder(config.hog, channels, size).to(encoder.mean.device).eval()
    gradients.set_normalisation(torch.zeros(channels), torch.ones(channels))  # the standardisation comes afterwards
    parts = encoder.parts if isinstance(encoder, ConcatenatedEncoder) else [encoder]
    both = ConcatenatedEncoder([*parts, gradients], channels).to(encoder.mean.device).eval()
    features = [encode(both, rows.images) for rows in (labelled, validation)]
    fitted = fit_linear_probe(config.linear, features[0], labelled.labels, features[1], validation.labels)
    whole = ConcatenatedConfig((*(about.parts if isinstance(about, ConcatenatedConfig) else (about,)), config.hog))
    return {**models, "linear_hog": ProbeModel(linear_classifier(both, fitted, classes), whole, HeadConfig())}


def _neighbours(encoder: Encoder, about: Any, knn: KNN, classes: int) -> ProbeModel:
    """The encoder with a head that votes as `knn`."""
    count = min(len(knn.labels), MOST_NEIGHBOURS)
    kept = np.linspace(0, len(knn.labels) - 1, count).round().astype(int)
    config = NeighboursConfig(count, knn.config.neighbours, knn.config.temperature)
    head = build_head(config, encoder.width, classes)
    vote = head[-1]
    assert isinstance(vote, NeighbourVote)
    vote.remember(torch.from_numpy(knn.features[kept]), torch.from_numpy(knn.labels[kept]))
    return ProbeModel(Classifier(encoder, head).eval(), about, config)
