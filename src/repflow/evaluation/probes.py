"""Probes of a frozen encoder: kNN, linear probe and k-means on its features."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from repflow.encoders.classical import HOGConfig
from repflow.evaluation.clustering import ClusteringConfig, clustering_scores, fit_kmeans, predict_clusters
from repflow.evaluation.knn import KNN, KNNConfig, fit_knn
from repflow.evaluation.linear_probe import LinearConfig, fit_linear_probe
from repflow.schema import Count, parameters


@parameters
class ProbeConfig:
    """Parameters of the probes.

    Attributes:
        knn: the kNN classifier.
        linear: the linear probe.
        hog: what stands beside the encoder's features in a further linear probe; None for no such probe.
        clustering: k-means.
        random_encoders: number of randomly initialised encoders to compare with; their scores are averaged.
    """

    knn: KNNConfig = field(default_factory=KNNConfig)
    linear: LinearConfig = field(default_factory=LinearConfig)
    hog: HOGConfig | None = field(default_factory=HOGConfig)
    clustering: ClusteringConfig = field(default_factory=ClusteringConfig)
    random_encoders: Count = 3


@dataclass(frozen=True)
class Features:
    """Features and labels of images.

    Attributes:
        features: float32 [N, width].
        labels: int64 [N], -1 if hidden.
    """

    features: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class Probes:
    """Fitted probes of one encoder; the last two are estimators of scikit-learn."""

    knn: KNN
    linear: Any
    clusters: Any


@dataclass(frozen=True)
class ProbeScores:
    """Scores of the probes on test images.

    Attributes:
        right: "knn" and "linear" to bool [N], whether the prediction is correct.
        clustering: "acc", "nmi" and "ari".
    """

    right: dict[str, np.ndarray]
    clustering: dict[str, float]


def fit_probes(
    config: ProbeConfig, labelled: Features, validation: Features, training: Features, classes: int, seed: int
) -> Probes:
    """Fit all probes of one encoder.

    Args:
        config: parameters of the probes.
        labelled: training set of kNN and linear probe.
        validation: for the choice of the linear probe's regularisation; may be empty.
        training: clustered by k-means; labels are not used.
        classes: number of clusters.
        seed: of k-means, from 0 to 2^32 - 1.
    """
    return Probes(
        knn=fit_knn(config.knn, labelled.features, labelled.labels),
        linear=fit_linear_probe(
            config.linear, labelled.features, labelled.labels, validation.features, validation.labels
        ),
        clusters=fit_kmeans(config.clustering, training.features, classes, seed),
    )


def score_probes(probes: Probes, test: Features) -> ProbeScores:
    """Scores of fitted probes on test images."""
    right = {
        "knn": probes.knn.predict(test.features) == test.labels,
        "linear": probes.linear.predict(test.features) == test.labels,
    }
    return ProbeScores(right, clustering_scores(test.labels, predict_clusters(probes.clusters, test.features)))
