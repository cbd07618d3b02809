"""Scores of clusterings, against what they are by hand and by trying every match."""

from itertools import permutations

import numpy as np
import pytest

from repflow.evaluation.clustering import (
    ClusteringConfig,
    assign,
    clustering_accuracy,
    clustering_scores,
    fit_clusters,
)


def test_accuracy_is_that_of_the_best_match_of_all():
    generator = np.random.default_rng(0)
    for _ in range(20):
        labels, clusters = generator.integers(0, 4, (2, 30))
        best = max((np.array(match)[clusters] == labels).mean() for match in permutations(range(4)))
        assert clustering_accuracy(labels, clusters) == pytest.approx(best)


def test_the_numbering_of_clusters_does_not_matter():
    labels = np.repeat([0, 1, 2], 5)
    assert clustering_scores(labels, (labels + 1) % 3) == pytest.approx({"acc": 1.0, "nmi": 1.0, "ari": 1.0})


def test_one_cluster_tells_nothing():
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
    clusters = fit_clusters(ClusteringConfig(), features[::2], 3, seed=0)
    assert clustering_accuracy(labels[1::2], assign(clusters, features[1::2])) == 1.0


def test_fewer_rows_than_clusters():
    clusters = fit_clusters(ClusteringConfig(), np.eye(2), 5, seed=0)
    assert clusters.n_clusters == 2
