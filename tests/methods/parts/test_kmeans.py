"""k-means: its clusters stay the same when the last digits of the points change, and none is empty."""

import numpy as np
import pytest
from sklearn.cluster import KMeans, kmeans_plusplus
from sklearn.datasets import load_digits

from repflow.methods.parts.kmeans import _seeds, fill_empty, kmeans, nonempty_kmeans

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


@pytest.mark.parametrize("clusters", [10, 60])
def test_without_empty_clusters_it_is_lloyds_algorithm(clusters: int) -> None:
    """Against scikit-learn's, from the same start."""
    start = _seeds(FEATURES, clusters, 0)
    usual = KMeans(clusters, init=start, n_init=1, max_iter=20, tol=0, algorithm="lloyd").fit(FEATURES)
    assert np.array_equal(nonempty_kmeans(FEATURES, clusters, 0, iterations=21), usual.labels_)


@pytest.mark.parametrize("count", [30, 200])
def test_no_cluster_stays_empty(count: int) -> None:
    for clusters in (count // 2, count - 1, count):
        found = nonempty_kmeans(FEATURES[:count], clusters, seed=1)
        assert len(set(found)) == clusters
        for seed in range(2):
            assert np.array_equal(nonempty_kmeans(perturbed(FEATURES[:count], seed), clusters, seed=1), found)


def test_centres_without_points_do_not_stay_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    def far_away(points: np.ndarray, clusters: int, seed: int) -> np.ndarray:
        start = _seeds(points, clusters, seed)
        start[2:5] += 1e3 * np.arange(1, 4)[:, None]
        return start

    monkeypatch.setattr("repflow.methods.parts.kmeans._seeds", far_away)
    assert len(set(nonempty_kmeans(FEATURES, 12, seed=0))) == 12


def test_an_empty_cluster_takes_a_part_of_another_one() -> None:
    """The points of the divided cluster go to the nearer of its centroid and the centroid moved a little."""
    labels = KMeans(6, n_init=1, random_state=0).fit(FEATURES).labels_.copy()
    labels[labels == 2] = 1
    for seed in range(5):
        found = fill_empty(FEATURES, labels, 6, np.random.default_rng(seed))
        moved = found != labels
        assert set(found[moved]) == {2}
        (divided,) = set(labels[moved])
        own = np.flatnonzero(labels == divided)
        centroid = FEATURES[own].mean(axis=0)
        generator = np.random.default_rng(seed)
        sizes = np.bincount(labels, minlength=6)
        assert divided == generator.choice(6, p=np.maximum(sizes - 1, 0) / np.maximum(sizes - 1, 0).sum())
        other = centroid + 1e-9 * generator.standard_normal(FEATURES.shape[1])
        nearer = np.linalg.norm(FEATURES[own] - other, axis=1) < np.linalg.norm(FEATURES[own] - centroid, axis=1)
        assert (nearer == moved[own]).mean() > 0.99


def test_every_cluster_with_more_than_one_point_is_divided_at_times() -> None:
    labels = np.repeat([0, 1, 2], [100, 50, 1])
    points = FEATURES[:151]
    divided = [int(labels[fill_empty(points, labels, 4, np.random.default_rng(each)) == 3][0]) for each in range(200)]
    assert set(divided) == {0, 1}
    assert divided.count(0) == pytest.approx(200 * 99 / 148, abs=25)


def test_equal_points_are_not_divided() -> None:
    points = np.concatenate([np.ones((20, 3)), np.zeros((2, 3)), [[0.0, 1, 0]]])
    labels = np.repeat([0, 1], [20, 3])
    for seed in range(5):
        found = fill_empty(points, labels, 3, np.random.default_rng(seed))
        assert set(found[:20]) == {0}
        assert len(set(found[20:])) == 2
    assert nonempty_kmeans(np.ones((5, 3)), 2, seed=0).tolist() == [0] * 5
