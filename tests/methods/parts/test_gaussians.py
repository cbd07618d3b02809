"""Gaussian clusters with their prior, against SciPy's distributions and naive sums."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import gammaln
from scipy.stats import invwishart, multivariate_normal, multivariate_t

from repflow.methods.parts.mixtures.gaussians import (
    Prior,
    log_evidence,
    log_split_ratio,
    moments,
    most_probable,
    posterior,
)
from repflow.randomness.draws import Draw

WIDTH = 3
CODES = Draw(0, "codes").normal(12, WIDTH) * torch.tensor([2.0, 1.0, 0.5]) + 1
PRIOR = Prior(
    torch.tensor([0.5, 0.0, -0.5]).double(), 0.3, torch.tensor([[2.0, 0.4, 0], [0.4, 1, 0], [0, 0, 3]]).double(), 5.5
)


def evidence(codes: np.ndarray) -> float:
    """One code after the other, each by Student's t given those before it."""
    mean, strength = PRIOR.mean.numpy(), PRIOR.strength
    scale, degrees, total = PRIOR.scale.numpy(), PRIOR.degrees, 0.0
    for code in codes.astype(np.float64):
        freedom = degrees - WIDTH + 1
        total += multivariate_t.logpdf(code, mean, scale * (strength + 1) / (strength * freedom), freedom)
        scale = scale + strength / (strength + 1) * np.outer(code - mean, code - mean)
        mean = (strength * mean + code) / (strength + 1)
        strength, degrees = strength + 1, degrees + 1
    return total


def log_density(mean: np.ndarray, covariance: np.ndarray, *parameters: Any) -> float:
    """Of a normal-inverse-Wishart distribution with these parameters, in the order of `posterior`."""
    centre, kappa, scale, nu = parameters
    return multivariate_normal.logpdf(mean, centre, covariance / kappa) + invwishart.logpdf(covariance, nu, scale)


def test_moments_are_weighted_sums() -> None:
    shares = Draw(0, "shares").uniform(12, 2)
    found = moments(CODES, shares)
    for cluster in range(2):
        count = sum(shares[i, cluster].item() for i in range(12))
        mean = sum(shares[i, cluster].item() * CODES[i].double().numpy() for i in range(12)) / count
        away = [CODES[i].double().numpy() - mean for i in range(12)]
        scatter = sum(shares[i, cluster].item() * np.outer(away[i], away[i]) for i in range(12))
        assert found.count[cluster].item() == pytest.approx(count)
        np.testing.assert_allclose(found.mean[cluster], mean)
        np.testing.assert_allclose(found.scatter[cluster], scatter)


def test_the_evidence_equals_the_product_of_predictive_densities() -> None:
    members = torch.arange(12)[:, None] < torch.tensor([12, 5, 1])
    found = log_evidence(PRIOR, moments(CODES, members))
    expected = [evidence(CODES[:count].numpy()) for count in (12, 5, 1)]
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_prior_times_likelihood_is_evidence_times_posterior() -> None:
    seen = moments(CODES, torch.ones(12, 1))
    centre, strength, scale, degrees = (each[0].numpy() for each in posterior(PRIOR, seen))
    mean, covariance = np.array([0.8, 1.1, 0.9]), np.diag([3.0, 1.2, 0.4])
    prior = log_density(mean, covariance, PRIOR.mean.numpy(), PRIOR.strength, PRIOR.scale.numpy(), PRIOR.degrees)
    likelihood = multivariate_normal.logpdf(CODES.double().numpy(), mean, covariance).sum()
    after = log_density(mean, covariance, centre, float(strength), scale, float(degrees))
    assert log_evidence(PRIOR, seen).item() == pytest.approx(prior + likelihood - after, rel=1e-9)


def test_the_most_probable_gaussian_is_where_the_posterior_is_highest() -> None:
    seen = moments(CODES, torch.ones(12, 1))
    centre, strength, scale, degrees = (each[0].numpy() for each in posterior(PRIOR, seen))
    mean, covariance = (each[0].numpy() for each in most_probable(PRIOR, seen))
    top = log_density(mean, covariance, centre, float(strength), scale, float(degrees))
    for number in range(20):
        step = Draw(number, "step").normal(WIDTH + 1, WIDTH).double().numpy() * 0.05
        root = np.linalg.cholesky(covariance) + np.tril(step[1:])
        assert log_density(mean + step[0], root @ root.T, centre, float(strength), scale, float(degrees)) < top


def test_the_split_ratio_is_that_of_the_evidences() -> None:
    second = torch.arange(12) >= 7
    parts = [evidence(each.numpy()) for each in (CODES[~second], CODES[second], CODES)]
    expected = math.log(4.0) + gammaln(7) + parts[0] + gammaln(5) + parts[1] - gammaln(12) - parts[2]
    assert log_split_ratio(PRIOR, 4.0, CODES, second) == pytest.approx(expected, rel=1e-9)
    assert log_split_ratio(PRIOR, 4.0, CODES, ~second) == pytest.approx(expected, rel=1e-9)


def test_a_weight_of_two_counts_every_code_twice() -> None:
    second = torch.arange(12) >= 7
    twice = log_split_ratio(PRIOR, 4.0, CODES.repeat(2, 1), second.repeat(2))
    assert log_split_ratio(PRIOR, 4.0, CODES, second, weight=2) == pytest.approx(twice, rel=1e-9)


def test_distant_clusters_are_split_and_a_single_one_is_not() -> None:
    codes = Draw(0, "far").normal(400, WIDTH)
    half = torch.arange(400) < 200
    assert log_split_ratio(PRIOR, 1.0, codes, half) < 0
    assert log_split_ratio(PRIOR, 1.0, codes + 6 * half[:, None], half) > 0
