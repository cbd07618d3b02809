"""The linear probe: logistic regression on frozen features."""

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from repflow.encoders import Classifier, Encoder, HeadConfig
from repflow.encoders.classifier import build_head
from repflow.encoders.linear_layer import fold
from repflow.errors import DataError
from repflow.schema import Count, Positive, parameters


@parameters
class LinearConfig:
    """Parameters of the linear probe.

    Attributes:
        regularisation: inverse strengths of the L2 penalty to choose from, by validation accuracy, the
            first of equals; without validation images the middle one.
        iterations: maximum number of solver iterations.
    """

    regularisation: tuple[Positive, ...] = (0.01, 0.1, 1.0, 10.0)
    iterations: Count = 500


def fit_linear_probe(
    config: LinearConfig,
    features: np.ndarray,
    labels: np.ndarray,
    validation_features: np.ndarray,
    validation_labels: np.ndarray,
) -> Pipeline:
    """Fit the probe, including standardisation, with the regularisation of the best validation accuracy.

    Args:
        config: the choices.
        features: float [N, width], of the training images.
        labels: int64 [N].
        validation_features: float [M, width]; M may be 0.
        validation_labels: int64 [M].

    Raises:
        DataError: the training labels have fewer than two classes.
    """
    if len(np.unique(labels)) < 2:
        raise DataError("probe: the labelled rows have fewer than two classes; a linear probe needs at least two")
    choices = config.regularisation
    if not len(validation_labels):
        return _fit(config, choices[len(choices) // 2], features, labels)
    probes = [_fit(config, strength, features, labels) for strength in choices]
    scores = [probe.score(validation_features, validation_labels) for probe in probes]
    return probes[int(np.argmax(scores))]


def _fit(config: LinearConfig, strength: float, features: np.ndarray, labels: np.ndarray) -> Pipeline:
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=config.iterations))
    return probe.fit(features, labels)


def linear_classifier(encoder: Encoder, fitted: Pipeline, classes: int) -> Classifier:
    """The frozen encoder and a fitted probe of its features as one classifier, in evaluation mode.

    Args:
        encoder: the encoder whose features the probe was fitted on.
        fitted: made by `fit_linear_probe`.
        classes: number of classes; those without a label are never predicted.
    """
    head = build_head(HeadConfig(), encoder.width, classes)
    last = head[-1]
    assert isinstance(last, nn.Linear)
    fold(fitted, last)
    return Classifier(encoder, head).eval()
