"""The classifier that a person would try first: logistic regression on pixels, or on oriented gradients.

It is a classifier as any other, so that whatever reads one, tests, predicts with and exports this one, too.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from repflow.data.read.rows import Rows, sampled
from repflow.encoders import Classifier, EncoderConfig, build_encoder
from repflow.encoders.classical import HOGConfig, PixelsConfig
from repflow.encoders.pretrained import PretrainedConfig
from repflow.errors import ParameterError
from repflow.evaluation.features import encode
from repflow.evaluation.linear_probe import LinearConfig, fit_linear_probe, linear_classifier
from repflow.schema import Count, parameters


@parameters
class BaselineConfig:
    """Parameters of the baseline.

    Attributes:
        features: the features to choose from, by validation accuracy, the first of equals; without validation images
            the last one.
        linear: the logistic regression; its regularisation is chosen in the same way.
        most: images that are used at most, evenly spaced, labelled ones and as many validation images: enough for a
            baseline, which takes seconds.
    """

    features: tuple[EncoderConfig, ...] = (PixelsConfig(), HOGConfig())
    linear: LinearConfig = field(default_factory=LinearConfig)
    most: Count = 20_000


@dataclass(frozen=True)
class Candidate:
    """One choice of features, fitted.

    Attributes:
        features: the choice.
        classifier: in evaluation mode.
        validation: accuracy on the validation images; None if there are none.
    """

    features: EncoderConfig
    classifier: Classifier
    validation: float | None


def fit_baselines(config: BaselineConfig, labelled: Rows, validation: Rows) -> list[Candidate]:
    """Every choice of features, fitted on the labelled images.

    Args:
        config: the choices. Features that do not fit the size of the images are left out.
        labelled: with labels from 0 to K - 1, of at least two classes.
        validation: rows with labels, or none.

    Raises:
        DataError: the labels are all of one class.
    """
    labelled, validation = sampled(labelled, config.most), sampled(validation, config.most)
    channels, size = labelled.images.shape[1:3]
    candidates = []
    for features in config.features:
        if isinstance(features, HOGConfig) and size < 2 * features.cells:
            continue
        if isinstance(features, PretrainedConfig):
            raise ParameterError(f"baseline.features: {features.name} is no baseline; set it as `encoder`")
        encoder = build_encoder(features, channels, size).eval()
        encoder.set_normalisation(torch.zeros(channels), torch.ones(channels))  # the standardisation comes afterwards
        seen = encode(encoder, validation.images) if len(validation) else np.empty((0, encoder.width), np.float32)
        fitted = fit_linear_probe(
            config.linear, encode(encoder, labelled.images), labelled.labels, seen, validation.labels
        )
        score = float(fitted.score(seen, validation.labels)) if len(validation) else None
        candidates.append(Candidate(features, linear_classifier(encoder, fitted, len(labelled.classes)), score))
    return candidates


def best_of(candidates: Sequence[Candidate]) -> Candidate:
    """The candidate with the highest validation accuracy, the first of equals; without validation the last one."""
    if candidates[0].validation is None:
        return candidates[-1]
    return max(candidates, key=lambda each: each.validation or 0.0)
