"""Probes of a frozen encoder: what can be read from its features by simple means."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from repflow.evaluation.clustering import ClusteringConfig, assign, clustering_scores, fit_clusters
from repflow.evaluation.knn import KNNConfig, fit_knn
from repflow.evaluation.linear_probe import LinearConfig, fit_linear_probe
from repflow.schema import Count, parameters


@parameters
class ProbeConfig:
    """Parameters of the probes.

    Attributes:
        knn: the vote of neighbours.
        linear: the linear probe.
        clustering: k-means.
        random_encoders: how many random initialisations of the encoder the pretrained one is held against; their scores
            are averaged.
    """

    knn: KNNConfig = field(default_factory=KNNConfig)
    linear: LinearConfig = field(default_factory=LinearConfig)
    clustering: ClusteringConfig = field(default_factory=ClusteringConfig)
    random_encoders: Count = 3


@dataclass(frozen=True)
class Features:
    """Features of some rows, and their labels.

    Attributes:
        features: float32 [N, width].
        labels: int64 [N], -1 where hidden.
    """

    features: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class Probes:
    """Fitted probes of one encoder, as scikit-learn's estimators."""

    knn: Any
    linear: Any
    clusters: Any


@dataclass(frozen=True)
class Readings:
    """What the probes say of rows.

    Attributes:
        right: "knn" and "linear" to bool [N], whether they are right.
        clustering: "acc", "nmi" and "ari".
    """

    right: dict[str, np.ndarray]
    clustering: dict[str, float]


def fit_probes(
    config: ProbeConfig, labelled: Features, validation: Features, training: Features, classes: int, seed: int
) -> Probes:
    """Fit all probes of one encoder.

    Args:
        config: how.
        labelled: the rows whose labels train the neighbours and the linear probe.
        validation: the rows that choose the linear probe's regularisation; may be none.
        training: all rows that clusters are sought in; their labels are not looked at.
        classes: how many clusters to seek.
        seed: of k-means, from 0 to 2^32 - 1.
    """
    return Probes(
        knn=fit_knn(config.knn, labelled.features, labelled.labels),
        linear=fit_linear_probe(
            config.linear, labelled.features, labelled.labels, validation.features, validation.labels
        ),
        clusters=fit_clusters(config.clustering, training.features, classes, seed),
    )


def read_probes(probes: Probes, test: Features) -> Readings:
    """What fitted probes say of the test rows."""
    right = {
        "knn": probes.knn.predict(test.features) == test.labels,
        "linear": probes.linear.predict(test.features) == test.labels,
    }
    return Readings(right, clustering_scores(test.labels, assign(probes.clusters, test.features)))
