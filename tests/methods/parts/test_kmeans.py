"""k-means: its clusters stay the same when the last digits of the points change."""

import numpy as np
import pytest
from sklearn.cluster import KMeans, kmeans_plusplus
from sklearn.datasets import load_digits

from repflow.methods.parts.kmeans import kmeans

DIGITS = load_digits().data / 16
FEATURES = (DIGITS @ np.random.default_rng(0).standard_normal((64, 32))).clip(min=0)


def perturbed(points: np.ndarray, seed: int) -> np.ndarray:
    """The points with other last digits."""
    noise: np.ndarray = points * (1 + 1e-15 * np.random.default_rng(seed).standard_normal(points.shape))
    return noise


@pytest.mark.parametrize(("count", "clusters"), [(200, 200), (200, 150), (200, 20), (1797, 256), (1797, 10)])
def test_the_last_digits_of_the_points_do_not_choose_the_clusters(count: int, clusters: int) -> None:
    points = FEATURES[:count]
    found = kmeans(points, clusters, seed=0)
    for seed in range(3):
        assert np.array_equal(kmeans(perturbed(points, seed), clusters, seed=0).labels_, found.labels_)


def test_they_would_choose_them_by_the_start_that_is_replaced() -> None:
    points = FEATURES[:200]
    usual = [kmeans_plusplus(points, 200, random_state=0)[1]]
    usual += [kmeans_plusplus(perturbed(points, seed), 200, random_state=0)[1] for seed in range(8)]
    assert not all(np.array_equal(each, usual[0]) for each in usual)


def test_equal_points_make_no_clusters_of_their_own() -> None:
    points = np.concatenate([FEATURES[:6], FEATURES[:6], FEATURES[:6]])
    for seed in range(3):
        found = kmeans(perturbed(points, seed), 12, seed=0)
        assert found.n_clusters == 6
        assert np.array_equal(found.labels_[:6], found.labels_[6:12])
        assert np.array_equal(found.labels_[:6], found.labels_[12:])
        assert len(set(found.labels_)) == 6
    assert kmeans(np.ones((5, 3)), 2, seed=0).n_clusters == 1


def test_the_sum_of_squared_distances_is_about_that_of_the_usual_start() -> None:
    mine = [kmeans(FEATURES, 30, seed).inertia_ for seed in range(5)]
    usual = [KMeans(30, random_state=seed).fit(FEATURES).inertia_ for seed in range(5)]
    assert np.mean(mine) == pytest.approx(np.mean(usual), rel=0.03)


def test_of_several_starts_the_best_is_kept() -> None:
    once = [kmeans(FEATURES, 10, seed).inertia_ for seed in range(5)]
    assert kmeans(FEATURES, 10, 0, restarts=10).inertia_ <= np.median(once)


def test_single_precision_stays() -> None:
    assert kmeans(FEATURES.astype(np.float32), 5, seed=0).cluster_centers_.dtype == np.float32
