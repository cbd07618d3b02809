"""The weighted kNN classifier against a naive implementation."""

import numpy as np
import pytest

from repflow.evaluation.knn import KNNConfig, fit_knn


def by_the_formula(train, labels, test, neighbours, temperature):
    unit = [each / np.linalg.norm(each, axis=1, keepdims=True) for each in (train, test)]
    similarity = unit[1] @ unit[0].T
    answers = []
    for row in similarity:
        nearest = np.argsort(-row)[:neighbours]
        votes = np.zeros(labels.max() + 1)
        np.add.at(votes, labels[nearest], np.exp(row[nearest] / temperature))
        answers.append(votes.argmax())
    return np.array(answers)


@pytest.mark.parametrize(("neighbours", "temperature"), [(1, 0.07), (10, 0.07), (40, 0.5)])
def test_predictions_equal_the_paper_s_formula(neighbours, temperature):
    generator = np.random.default_rng(0)
    train, test = generator.normal(size=(80, 6)), generator.normal(size=(50, 6))
    labels = generator.integers(0, 4, 80)
    found = fit_knn(KNNConfig(neighbours, temperature), train, labels).predict(test)
    assert np.array_equal(found, by_the_formula(train, labels, test, neighbours, temperature))


def test_one_near_neighbour_outvotes_two_far_ones_at_a_low_temperature():
    train = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    labels, test = np.array([0, 1, 1]), np.array([[1.0, 0.1]])
    assert fit_knn(KNNConfig(3, 0.07), train, labels).predict(test) == [0]
    assert fit_knn(KNNConfig(3, 100.0), train, labels).predict(test) == [1]


def test_weights_do_not_underflow_at_low_temperatures():
    train, labels = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([0, 1])
    vote = fit_knn(KNNConfig(2, 1e-4), train, labels)
    assert vote.predict(np.array([[-1.0, -0.5]])) == [1]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_copies_that_disagree_are_neighbours_together_or_not_at_all(dtype):
    """Of an image there are 12 copies with the label 1, 8 with 2; the last digits of their features are noise."""
    generator = np.random.default_rng(0)
    copied, *others = generator.normal(size=(41, 16)).astype(dtype)
    labels = np.array([1] * 12 + [2] * 8 + [0] * 40)
    for _ in range(20):
        train = np.stack([copied] * 20 + others)
        train *= 1 + np.finfo(dtype).eps * generator.standard_normal(train.shape).astype(dtype)
        order = generator.permutation(60)
        knn = fit_knn(KNNConfig(5), train[order], labels[order])
        assert knn.predict((copied + 0.1 * others[0])[None]) == [1]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_of_classes_with_the_same_votes_the_first_is_predicted(dtype):
    generator = np.random.default_rng(0)
    images = generator.normal(size=(30, 16)).astype(dtype)
    labels = np.array([7, 3]).repeat(30)
    for _ in range(20):
        train = np.concatenate([images, images])
        train *= 1 + np.finfo(dtype).eps * generator.standard_normal(train.shape).astype(dtype)
        queries = generator.normal(size=(30, 16)).astype(dtype)
        assert fit_knn(KNNConfig(10), train, labels).predict(queries).tolist() == [3] * 30


def test_fewer_rows_than_neighbours():
    assert fit_knn(KNNConfig(200), np.eye(2), np.array([0, 1])).predict(np.array([[0.9, 0.1]])) == [0]
