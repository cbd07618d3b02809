"""Clustering scores against values computed by hand and by enumeration, and k-means."""

from itertools import permutations

import numpy as np
import pytest
from sklearn.datasets import load_digits

from repflow.evaluation.clustering import (
    ClusteringConfig,
    clustering_accuracy,
    clustering_scores,
    fit_kmeans,
    predict_clusters,
)


def test_accuracy_equals_the_best_of_all_mappings():
    generator = np.random.default_rng(0)
    for _ in range(20):
        labels, clusters = generator.integers(0, 4, (2, 30))
        best = max((np.array(match)[clusters] == labels).mean() for match in permutations(range(4)))
        assert clustering_accuracy(labels, clusters) == pytest.approx(best)


def test_the_numbering_of_clusters_does_not_matter():
    labels = np.repeat([0, 1, 2], 5)
    assert clustering_scores(labels, (labels + 1) % 3) == pytest.approx({"acc": 1.0, "nmi": 1.0, "ari": 1.0})


def test_a_single_cluster_is_uninformative():
    labels = np.array([0, 0, 0, 1])
    scores = clustering_scores(labels, np.zeros(4, int))
    assert scores == pytest.approx({"acc": 0.75, "nmi": 0.0, "ari": 0.0})


def test_a_split_class_costs_accuracy_by_hand():
    """Two of class 0 lie in a cluster of their own that no class is left for: 4 of 6 rows are matched."""
    assert clustering_accuracy(np.array([0, 0, 0, 0, 1, 1]), np.array([0, 0, 2, 2, 1, 1])) == pytest.approx(4 / 6)


def test_more_clusters_than_classes_and_fewer():
    assert clustering_accuracy(np.array([0, 0, 1, 1]), np.array([0, 1, 2, 3])) == pytest.approx(0.5)
    assert clustering_accuracy(np.array([0, 1, 2, 3]), np.zeros(4, int)) == pytest.approx(0.25)


def test_k_means_finds_separate_directions_whatever_their_length():
    generator = np.random.default_rng(1)
    labels = np.repeat(np.arange(3), 20)
    directions = np.eye(3)[labels] + generator.normal(0, 0.05, (60, 3))
    features = directions * generator.uniform(0.1, 10, (60, 1))
    clusters = fit_kmeans(ClusteringConfig(), features[::2], 3, seed=0)
    assert clustering_accuracy(labels[1::2], predict_clusters(clusters, features[1::2])) == 1.0


@pytest.mark.parametrize("seed", range(6))
def test_the_last_digits_of_the_features_do_not_choose_the_clusters(seed):
    generator = np.random.default_rng(seed)
    features = (load_digits().data[:60] @ generator.normal(size=(64, 20))).clip(min=0)
    expected = predict_clusters(fit_kmeans(ClusteringConfig(), features, 40, seed), features)
    for _ in range(4):
        noisy = features * (1 + 1e-15 * generator.standard_normal(features.shape))
        assert np.array_equal(predict_clusters(fit_kmeans(ClusteringConfig(), noisy, 40, seed), features), expected)


def test_fewer_rows_than_clusters():
    clusters = fit_kmeans(ClusteringConfig(), np.eye(2), 5, seed=0)
    assert clusters.n_clusters == 2


def test_the_clusters_are_found_from_no_more_images_than_asked_for() -> None:
    features = np.random.default_rng(0).standard_normal((101, 3))
    few = fit_kmeans(ClusteringConfig(images=11), features, 3, seed=0)
    assert np.array_equal(
        few.cluster_centers_, fit_kmeans(ClusteringConfig(), features[::10], 3, seed=0).cluster_centers_
    )
    assert len(fit_kmeans(ClusteringConfig(images=101), features, 3, seed=0).labels_) == 101
