"""The Fréchet distance against matrix square roots and closed forms, and on images."""

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from sklearn.datasets import load_digits
from torch import Tensor

from repflow.evaluation.frechet import Gaussian, fitted, frechet_distance
from repflow.evaluation.generation import generated_images, generation_scores
from repflow.randomness.draws import Draw

RNG = np.random.default_rng(0)


def test_it_equals_the_formula_with_a_matrix_square_root() -> None:
    one, other = (fitted(RNG.normal(size=(500, 12)) @ RNG.normal(size=(12, 12)) + shift) for shift in (0.0, 0.5))
    root = sqrtm(one.covariance @ other.covariance).real
    by_root = np.sum((one.mean - other.mean) ** 2) + np.trace(one.covariance + other.covariance - 2 * root)
    assert frechet_distance(one, other) == pytest.approx(by_root, rel=1e-9)
    assert frechet_distance(other, one) == pytest.approx(by_root, rel=1e-9)


def test_independent_features_have_a_closed_form() -> None:
    means, deviations = RNG.normal(size=(2, 6)), RNG.uniform(0.1, 3, size=(2, 6))
    one, other = (Gaussian(mean, np.diag(each**2)) for mean, each in zip(means, deviations, strict=True))
    wanted = np.sum((means[0] - means[1]) ** 2) + np.sum((deviations[0] - deviations[1]) ** 2)
    assert frechet_distance(one, other) == pytest.approx(wanted, rel=1e-12)


def test_singular_covariances() -> None:
    few = RNG.normal(size=(5, 30))
    assert frechet_distance(fitted(few), fitted(few)) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(fitted(few), fitted(few + 2)) == pytest.approx(30 * 4, rel=1e-6)
    lines = [np.outer(RNG.normal(size=400), direction) for direction in (np.eye(30)[0], np.eye(30)[1])]
    one, other = map(fitted, lines)
    wanted = np.sum((one.mean - other.mean) ** 2) + one.covariance[0, 0] + other.covariance[1, 1]
    assert frechet_distance(one, other) == pytest.approx(wanted, rel=1e-6)


def test_the_covariance_is_the_unbiased_one() -> None:
    features = np.array([[0.0, 1.0], [2.0, 1.0], [4.0, 4.0]])
    found = fitted(features)
    assert found.mean.tolist() == [2.0, 2.0]
    assert found.covariance.tolist() == [[4.0, 3.0], [3.0, 3.0]]


class Painter:
    """Generates copies of real images with noise."""

    def __init__(self, images: np.ndarray, noise: float):
        self.images, self.noise = torch.from_numpy(images).float() / 255, noise

    def sample(self, count: int, size: tuple[int, ...], draw: Draw) -> Tensor:
        assert size == (16, 16)
        copies = self.images[draw.integers(count, high=len(self.images))]
        return copies + self.noise * draw.normal(count, 1, *size)


def test_the_better_the_images_the_smaller_the_distance() -> None:
    digits = (load_digits().images * 255 / 16).astype(np.uint8).repeat(2, axis=1).repeat(2, axis=2)[:, None]
    scores = [generation_scores(Painter(digits, noise), digits, seed=0) for noise in (0.0, 0.1, 0.3)]
    distances = [each["frechet"] for each in scores]
    assert distances == sorted(distances)
    floor = scores[0]["frechet_real"]
    assert distances[0] < 2 * floor < distances[2]
    assert scores[0] == generation_scores(Painter(digits, 0.0), digits, seed=0)
    assert generation_scores(object(), digits, seed=0) == {}


def test_generated_images_differ() -> None:
    made = generated_images(Painter(np.zeros((1, 1, 16, 16), np.uint8), 0.3), 600, (16, 16), seed=0)
    assert made.shape == (600, 1, 16, 16)
    assert made.dtype == np.uint8
    assert len(np.unique(made.reshape(600, -1), axis=0)) == 600
