"""The linear probe: standardisation, and the choice of regularisation."""

import numpy as np
import pytest

from repflow.errors import DataError
from repflow.evaluation.linear_probe import LinearConfig, fit_linear_probe


def blobs(rows, seed):
    generator = np.random.default_rng(seed)
    labels = np.arange(rows) % 3
    return np.eye(3)[labels] * 2 + generator.normal(0, 0.8, (rows, 3)), labels


def test_features_are_standardised():
    features, labels = blobs(90, 0)
    test, truth = blobs(300, 1)
    scale = np.array([1.0, 1e4, 1e-4])
    plain = fit_linear_probe(LinearConfig(), features, labels, *blobs(60, 2))
    scaled = fit_linear_probe(LinearConfig(), features * scale, labels, blobs(60, 2)[0] * scale, blobs(60, 2)[1])
    assert np.array_equal(plain.predict(test), scaled.predict(test * scale))
    assert plain.score(test, truth) > 0.85


def test_the_regularisation_is_chosen_on_validation_rows():
    """Labels of the training rows are half wrong; validation must prefer the probe that trusts them least."""
    generator = np.random.default_rng(3)
    features, labels = generator.normal(size=(60, 40)), np.arange(60) % 2
    features[:, 0] += 1.5 * (2 * labels - 1)
    validation = generator.normal(size=(400, 40))
    truth = np.arange(400) % 2
    validation[:, 0] += 1.5 * (2 * truth - 1)
    config = LinearConfig((0.001, 1000.0), 1000)
    chosen = fit_linear_probe(config, features, labels, validation, truth)
    fixed = [fit_linear_probe(LinearConfig((c,), 1000), features, labels, validation, truth) for c in (0.001, 1000.0)]
    assert chosen[-1].C == 0.001
    assert fixed[0].score(validation, truth) > fixed[1].score(validation, truth)


def test_the_first_of_equals_wins_and_the_middle_one_without_validation():
    features, labels = np.eye(3).repeat(10, 0), np.arange(3).repeat(10)
    none = np.empty((0, 3)), np.empty(0, int)
    assert fit_linear_probe(LinearConfig(), features, labels, features, labels)[-1].C == 0.01
    assert fit_linear_probe(LinearConfig((0.1, 1.0, 10.0)), features, labels, *none)[-1].C == 1.0


def test_a_single_class_is_refused():
    with pytest.raises(DataError, match="fewer than two classes"):
        fit_linear_probe(LinearConfig(), np.eye(3), np.zeros(3, int), np.eye(3), np.zeros(3, int))
