"""The weighted k-nearest-neighbour classifier for evaluating representations.

Wu, Xiong, Yu, Lin. Unsupervised Feature Learning via Non-Parametric Instance Discrimination. CVPR 2018, section 3.4.
"""

import numpy as np
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import Normalizer

from repflow.schema import Count, Positive, parameters


@parameters
class KNNConfig:
    """Parameters of the kNN classifier.

    Attributes:
        neighbours: number of neighbours, at most the number of labelled images.
        temperature: a neighbour with cosine similarity s has the weight exp(s / temperature).
    """

    neighbours: Count = 10
    temperature: Positive = 0.07


def fit_knn(config: KNNConfig, features: np.ndarray, labels: np.ndarray) -> Pipeline:
    """A fitted classifier, which brings features to unit length itself.

    Args:
        config: the vote.
        features: float [N, width].
        labels: int64 [N].
    """

    def votes(distances: np.ndarray) -> np.ndarray:
        # Between unit vectors the squared distance is 2 - 2 s. A common factor does not change who wins; this one keeps
        # the nearest neighbour's vote from vanishing at low temperatures.
        squared = distances**2
        weights: np.ndarray = np.exp((squared.min(axis=1, keepdims=True) - squared) / (2 * config.temperature))
        return weights

    neighbours = min(config.neighbours, len(labels))
    vote = KNeighborsClassifier(neighbours, metric="euclidean", algorithm="brute", weights=votes)
    return make_pipeline(Normalizer(), vote).fit(features, labels)
