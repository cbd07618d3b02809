"""k-means whose clusters, and their numbers, do not depend on the last digits of the points."""

import itertools
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from sklearn.cluster import KMeans

_SAME = 1e-8
"""Squared distance, in variances of all points, up to which two points are taken for the same one."""
_AT_ONCE = 2**24
"""Distances that are in memory at once: 128 MB."""


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


def nonempty_kmeans(points: np.ndarray, clusters: int, seed: int, iterations: int = 20) -> np.ndarray:
    """k-means that fills a cluster which becomes empty with a part of another one: cluster assignments, int [N].

    The empty cluster gets the centroid of a randomly chosen cluster, moved a little in a random direction, and the
    points of the chosen one go to the nearer of the two centroids (Caron, Bojanowski, Joulin, Douze. Deep Clustering
    for Unsupervised Learning of Visual Features. ECCV 2018). As in Faiss (Johnson, Douze, Jégou. Billion-Scale
    Similarity Search with GPUs. IEEE Transactions on Big Data 2019), the larger a cluster is, the more often it is
    chosen.

    It starts from plain k-means++, as `kmeans` does, where Faiss starts from random points.

    Args:
        points: float [N, width].
        clusters: how many; fewer where there are fewer different points.
        seed: from 0 to 2^32 - 1.
        iterations: at most as many.
    """
    from threadpoolctl import threadpool_limits

    generator = np.random.default_rng(seed)
    same = _SAME * points.var(axis=0, dtype=np.float64).sum()
    with threadpool_limits(1):  # the order in which threads add up is random, which changes the last digits
        centres = _seeds(points, min(clusters, len(points)), seed)
        centres = centres[: _count_different(points, centres)]
        labels = np.full(len(points), -1)
        for _ in range(iterations):
            before, labels = labels, fill_empty(points, _nearest(points, centres), len(centres), generator, same)
            if np.array_equal(before, labels):
                break
            centres = _means(points, labels, len(centres))
    return labels


def fill_empty(
    points: np.ndarray, labels: np.ndarray, clusters: int, generator: np.random.Generator, same: float = 0.0
) -> np.ndarray:
    """Cluster assignments of which no cluster is empty, as far as there are different points to divide: int [N].

    Args:
        points: float [N, width].
        labels: int [N], in which some of the numbers below `clusters` may be missing.
        clusters: how many.
        generator: chooses the clusters that are divided, and how.
        same: squared distance up to which points are taken for the same one.
    """
    labels = labels.copy()
    sizes = np.bincount(labels, minlength=clusters)
    weights = np.maximum(sizes - 1, 0).astype(np.float64)
    for empty in np.flatnonzero(sizes == 0):
        while weights.sum() > 0:
            chosen = generator.choice(clusters, p=weights / weights.sum())
            own = np.flatnonzero(labels == chosen)
            away = points[own] - points[own].mean(axis=0)
            # The centroid moves by so little that its plane is halfway between both.
            moved = away @ generator.standard_normal(points.shape[1]) > 0
            if np.square(away).sum(axis=1).max() <= same or moved.all() or not moved.any():
                weights[chosen] = 0  # equal points cannot be divided
                continue
            labels[own[moved]] = empty
            weights[chosen], weights[empty] = len(own) - moved.sum() - 1, moved.sum() - 1
            break
    return labels


def _nearest(points: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """The nearest of centres [K, width] for each of points [N, width]: int [N]."""
    lengths = np.square(centres).sum(axis=1)
    step = max(1, _AT_ONCE // len(centres))
    parts = (points[start : start + step] for start in range(0, len(points), step))
    return np.concatenate([(lengths - 2 * part @ centres.T).argmin(axis=1) for part in parts])


def _means(points: np.ndarray, labels: np.ndarray, clusters: int) -> np.ndarray:
    """The means of clusters, none of them empty: [clusters, width]."""
    order = np.argsort(labels, kind="stable")
    limits = np.searchsorted(labels[order], np.arange(clusters + 1))
    return np.stack([points[order[start:stop]].mean(axis=0) for start, stop in itertools.pairwise(limits)])
