"""k-means on features, and the agreement of clusters with classes."""

import numpy as np
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from sklearn.metrics.cluster import contingency_matrix
from sklearn.preprocessing import normalize

from repflow.data.read.memory_mapped import evenly_spaced
from repflow.methods.parts.kmeans import kmeans
from repflow.schema import Count, parameters


@parameters
class ClusteringConfig:
    """Parameters of k-means.

    Attributes:
        restarts: number of random initialisations (scikit-learn's n_init); the one with the lowest inertia is kept.
        images: most training images, evenly spaced, that the clusters are found from.
    """

    restarts: Count = 5
    images: Count = 10_000


def fit_kmeans(config: ClusteringConfig, features: np.ndarray, clusters: int, seed: int) -> KMeans:
    """Fitted k-means on features of unit length; give `assign` the features of other rows.

    Args:
        config: how often to start.
        features: float [N, width].
        clusters: how many, at most as many as there are different features.
        seed: from 0 to 2^32 - 1.
    """
    rows = evenly_spaced(len(features), config.images)
    return kmeans(normalize(features[rows]), clusters, seed, config.restarts)


def predict_clusters(clusters: KMeans, features: np.ndarray) -> np.ndarray:
    """Cluster assignments of features [N, width]: int [N]."""
    found: np.ndarray = clusters.predict(normalize(features))
    return found


def clustering_scores(labels: np.ndarray, clusters: np.ndarray) -> dict[str, float]:
    """Three scores of a clustering, 1 for perfect agreement up to a permutation of the clusters.

    Args:
        labels: int [N].
        clusters: int [N].

    Returns:
        `acc`, the accuracy under the optimal one-to-one mapping to classes (Hungarian algorithm), in [0, 1];
        `nmi`, normalised mutual information (arithmetic mean), in [0, 1]; `ari`, adjusted Rand index, 0 by chance.
    """
    return {
        "acc": clustering_accuracy(labels, clusters),
        "nmi": float(normalized_mutual_info_score(labels, clusters)),
        "ari": float(adjusted_rand_score(labels, clusters)),
    }


def clustering_accuracy(labels: np.ndarray, clusters: np.ndarray) -> float:
    """Accuracy under the optimal one-to-one mapping of clusters to classes."""
    contingency = contingency_matrix(labels, clusters)
    classes, matched = linear_sum_assignment(contingency, maximize=True)
    return float(contingency[classes, matched].sum() / len(labels))
