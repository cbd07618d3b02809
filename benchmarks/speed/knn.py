"""k-nearest-neighbour classification: queries per second, including fitting."""

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.neighbors import KNeighborsClassifier
from threadpoolctl import threadpool_limits

from repflow.evaluation.features import encode
from repflow.evaluation.knn import KNNConfig, fit_knn
from speed import ours
from speed.images import Images
from speed.race import Rival, again, race
from speed.settings import Settings

Act = Callable[[int], np.ndarray]
"""Predicted labels of the queries, int64 [N]."""

QUERIES = 0.2
"""Share of the images that are queries; the others are the index."""


def measure(settings: Settings, images: Images) -> list[dict[str, Any]]:
    """The kNN classifier of `conf/probe/default.yaml` on features of the small encoder."""
    entrants = rivals(images)
    queries = round(len(images) * QUERIES)
    shared = {"queries": queries, "neighbours_among": len(images) - queries, "threads": settings.threads}
    with threadpool_limits(settings.threads):
        return [race("knn", "queries/s", entrants, settings.repeats, 0, **shared)]


def rivals(images: Images) -> list[Rival]:
    """scikit-learn's classifier with cosine distance, and repflow's."""
    features = encode(ours.encoder("small", images).eval(), images.pixels)
    queries = round(len(images) * QUERIES)
    makers = {"scikit-learn": scikit_learn, "repflow": repflow}
    return [again(name, maker, queries, features, images.labels, queries) for name, maker in makers.items()]


def scikit_learn(features: np.ndarray, labels: np.ndarray, queries: int) -> Act:
    """scikit-learn's KNeighborsClassifier with metric="cosine" and the weighted vote as a function of the distance."""
    config = KNNConfig()

    def votes(distances: np.ndarray) -> np.ndarray:
        weights: np.ndarray = np.exp((1 - distances) / config.temperature)
        return weights

    def act(_: int) -> np.ndarray:
        vote = KNeighborsClassifier(config.neighbours, metric="cosine", weights=votes)
        predicted: np.ndarray = vote.fit(features[queries:], labels[queries:]).predict(features[:queries])
        return predicted

    return act


def repflow(features: np.ndarray, labels: np.ndarray, queries: int) -> Act:
    """`repflow.evaluation.knn.fit_knn`, which `probe` uses."""

    def act(_: int) -> np.ndarray:
        predicted: np.ndarray = fit_knn(KNNConfig(), features[queries:], labels[queries:]).predict(features[:queries])
        return predicted

    return act
