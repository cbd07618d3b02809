"""The weighted k-nearest-neighbour classifier for evaluating representations.

Wu, Xiong, Yu, Lin. Unsupervised Feature Learning via Non-Parametric Instance Discrimination. CVPR 2018, section 3.4.
"""

from collections.abc import Sequence

import numpy as np
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import normalize

from repflow.encoders.neighbours import SAME_DISTANCE, SAME_WEIGHT
from repflow.schema import Count, Positive, parameters

_WEIGHTS = 2**26
"""Weights of classes for images that are in memory at once: half a gigabyte."""


@parameters
class KNNConfig:
    """Parameters of the kNN classifier.

    Attributes:
        neighbours: number of neighbours, at most the number of labelled images.
        temperature: a neighbour with cosine similarity s has the weight exp(s / temperature).
    """

    neighbours: Count = 10
    temperature: Positive = 0.07


def fit_knn(config: KNNConfig, features: np.ndarray, labels: np.ndarray) -> "KNN":
    """The fitted classifier; it normalises features to unit length itself.

    Args:
        config: number of neighbours and temperature.
        features: float [N, width].
        labels: int64 [N].
    """
    return KNN(config, normalize(features), labels)


class KNN:
    """A fitted kNN classifier, whose predictions depend neither on the order of the images nor on rounding.

    All neighbours that are as far as the last one vote, too. Of classes with the same weight, the first is predicted.

    Args:
        config: number of neighbours and temperature.
        features: float [N, width], of unit length.
        labels: int64 [N].
    """

    def __init__(self, config: KNNConfig, features: np.ndarray, labels: np.ndarray):
        self._count, self._temperature = min(config.neighbours, len(labels)), config.temperature
        self.config, self.features, self.labels = config, features, labels
        self._classes, self._class_indices = np.unique(labels, return_inverse=True)
        self._nearest = NearestNeighbors(algorithm="brute", metric="euclidean").fit(features)

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Labels of features [M, width]: int64 [M]."""
        return self.predict_each(features, (self._count,))[self._count]

    def predict_each(self, features: np.ndarray, counts: Sequence[int]) -> dict[int, np.ndarray]:
        """Labels of features [M, width] by several numbers of neighbours, which are searched for once.

        Args:
            features: float [M, width].
            counts: numbers of neighbours; of more than there are, all vote.

        Returns:
            Each of `counts` to int64 [M].
        """
        step = max(1, _WEIGHTS // len(self._classes))
        parts = [
            self._predict(features[first : first + step], counts) for first in range(0, max(1, len(features)), step)
        ]
        return {count: np.concatenate([part[count] for part in parts]) for count in counts}

    def _predict(self, features: np.ndarray, counts: Sequence[int]) -> dict[int, np.ndarray]:
        features = normalize(features)
        distances, neighbours = self._nearest.kneighbors(features, min(max(counts) + 1, len(self.labels)))
        squared = distances**2
        return {count: self._vote(features, squared, neighbours, min(count, len(self.labels))) for count in counts}

    def _vote(self, features: np.ndarray, squared: np.ndarray, neighbours: np.ndarray, count: int) -> np.ndarray:
        """Labels int64 [M] by the first `count` neighbours, at these squared distances [M, k], k >= count."""
        weights = self._class_weights(squared[:, :count], neighbours[:, :count])
        last, next_one = squared[:, count - 1], squared[:, count : count + 1]  # [M], [M, 1]
        for row in np.flatnonzero((next_one - last[:, None] < SAME_DISTANCE).any(axis=1)):
            weights[row] = self._class_weights_with_ties(features[row], last[row])
        best = weights >= weights.max(axis=1, keepdims=True) * (1 - SAME_WEIGHT)
        predicted: np.ndarray = self._classes[best.argmax(axis=1)]
        return predicted

    def _class_weights(self, squared: np.ndarray, neighbours: np.ndarray) -> np.ndarray:
        """Weights [M, classes] of neighbours, int [M, k], at these squared distances [M, k]."""
        # Between unit vectors the squared distance is 2 - 2 s. A common factor does not change which class wins; this
        # one prevents the nearest neighbour's weight from underflowing at low temperatures.
        each = np.exp((squared.min(axis=1, keepdims=True) - squared) / (2 * self._temperature))
        weights = np.zeros((len(squared), len(self._classes)))
        np.add.at(weights, (np.arange(len(squared))[:, None], self._class_indices[neighbours]), each)
        return weights

    def _class_weights_with_ties(self, feature: np.ndarray, last: float) -> np.ndarray:
        """Weights [classes] of all neighbours of a feature [width] up to the squared distance of the last."""
        squared = np.square(self.features.astype(np.float64) - feature).sum(axis=1)
        neighbours = np.flatnonzero(squared < last + SAME_DISTANCE)
        weights: np.ndarray = self._class_weights(squared[None, neighbours], neighbours[None])[0]
        return weights
