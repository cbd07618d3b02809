"""k-means whose clusters, and their numbers, do not depend on the last digits of the points."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from sklearn.cluster import KMeans

_SAME = 1e-8
"""Squared distance, in variances of all points, up to which two points are taken for the same one."""


def kmeans(points: np.ndarray, clusters: int, seed: int, restarts: int = 1, iterations: int = 300) -> "KMeans":
    """Fitted k-means, started from plain k-means++ (Arthur, Vassilvitskii. SODA 2007).

    scikit-learn's own start draws several candidates for each centre and takes the best. Two points that are near to
    each other and to no third one are equally good, so that rounding would choose between them. That is common where
    there are few points for each cluster. What is left to rounding are points that are exactly as far from two centres:
    features have none, points on a lattice, such as pixels, do.

    A cluster that becomes empty gets the point that is farthest from its own centre, so that none stays empty.

    Args:
        points: float [N, width].
        clusters: how many; fewer where there are fewer different points.
        seed: from 0 to 2^32 - 1.
        restarts: how often to start; the clustering with the smallest sum of squared distances is kept.
        iterations: at most as many in each.
    """
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):  # the order in which threads add up is random, which changes the last digits
        clusters = _count_different(points, _seeds(points, min(clusters, len(points)), seed))
        return KMeans(clusters, init=_seeds, n_init=restarts, max_iter=iterations, random_state=seed).fit(points)


def _seeds(points: np.ndarray, clusters: int, random_state: int | np.random.RandomState) -> np.ndarray:
    """Points [clusters, width], each drawn with the probability of its squared distance to those drawn before."""
    from sklearn.cluster import kmeans_plusplus

    seeds: np.ndarray = kmeans_plusplus(points, clusters, random_state=random_state, n_local_trials=1)[0]
    return seeds


def _count_different(points: np.ndarray, seeds: np.ndarray) -> int:
    """How many of the seeds are different points; a point is drawn twice only where all have been drawn."""
    from scipy.spatial.distance import cdist

    same = cdist(seeds, seeds, "sqeuclidean") <= _SAME * points.var(axis=0, dtype=np.float64).sum()
    return int((~np.tril(same, -1).any(axis=1)).sum())
