"""Gaussian clusters with a normal-inverse-Wishart prior: posterior, marginal likelihood, and split ratio.

The posteriors are those of Murphy (Conjugate Bayesian Analysis of the Gaussian Distribution, 2007), the Hastings ratio
is that of Chang and Fisher (Parallel Sampling of DP Mixture Models Using Sub-Cluster Splits, NeurIPS 2013).
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from repflow.hardware.portable_math import logarithm


@dataclass(frozen=True)
class Prior:
    """The normal-inverse-Wishart distribution over the mean and covariance of a cluster's codes.

    Attributes:
        mean: [d].
        strength: pseudo-count of the mean (kappa).
        scale: positive definite [d, d] (Psi).
        degrees: of freedom, above d - 1 (nu).
    """

    mean: Tensor
    strength: float
    scale: Tensor
    degrees: float


@dataclass(frozen=True)
class Moments:
    """Sufficient statistics of K clusters: count [K], mean [K, d] and scatter matrix [K, d, d]."""

    count: Tensor
    mean: Tensor
    scatter: Tensor


def moments(codes: Tensor, shares: Tensor) -> Moments:
    """The moments of K clusters, in float64, of codes [n, d] with responsibilities `shares` [n, K]."""
    codes, shares = codes.double(), shares.double()
    count = shares.sum(dim=0)
    mean = shares.T @ codes / count.clamp(min=1e-12)[:, None]
    away = [codes - centre for centre in mean]
    scatter = [each.T @ (share[:, None] * each) for each, share in zip(away, shares.T, strict=True)]
    return Moments(count, mean, torch.stack(scatter))


def posterior(prior: Prior, statistics: Moments) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The posteriors' mean [K, d], strength [K], scale [K, d, d] and degrees of freedom [K]."""
    strength = prior.strength + statistics.count
    mean = (prior.strength * prior.mean + statistics.count[:, None] * statistics.mean) / strength[:, None]
    apart = statistics.mean - prior.mean
    between = torch.einsum("k,kd,ke->kde", prior.strength * statistics.count / strength, apart, apart)
    return mean, strength, prior.scale + statistics.scatter + between, prior.degrees + statistics.count


def most_probable(prior: Prior, statistics: Moments) -> tuple[Tensor, Tensor]:
    """Mean [K, d] and covariance [K, d, d] at the posteriors' modes."""
    mean, _, scale, degrees = posterior(prior, statistics)
    return mean, scale / (degrees + len(prior.mean) + 2)[:, None, None]


def log_evidence(prior: Prior, statistics: Moments) -> Tensor:
    """The logarithm of each cluster's marginal likelihood, its Gaussian integrated out: [K]."""
    width = len(prior.mean)
    _, strength, scale, degrees = posterior(prior, statistics)
    before = torch.tensor(prior.degrees, dtype=torch.float64)
    return (
        torch.mvlgamma(degrees / 2, width)
        - torch.mvlgamma(before / 2, width)
        + before / 2 * _log_determinant(prior.scale)
        - degrees / 2 * _log_determinant(scale)
        + width / 2 * (math.log(prior.strength) - logarithm(strength) - statistics.count * math.log(math.pi))
    )


def _log_determinant(positive_definite: Tensor) -> Tensor:
    """Of matrices [..., d, d]."""
    return 2 * logarithm(torch.linalg.cholesky(positive_definite).diagonal(dim1=-2, dim2=-1)).sum(dim=-1)


def log_split_ratio(prior: Prior, concentration: float, codes: Tensor, second: Tensor, weight: float = 1.0) -> float:
    """The logarithm of the Hastings ratio of splitting codes [n, d] in two; minus that of merging the two.

    Args:
        prior: of every cluster.
        concentration: of the Dirichlet process.
        codes: the cluster's codes.
        second: bool [n], the codes of the second subcluster; neither may be empty.
        weight: number of observations each code counts as. With less than 1, an approximately Gaussian cluster is not
            split however many codes show its deviation (Miller and Dunson, Robust Bayesian Inference via Coarsening,
            JASA 2019).
    """
    statistics = moments(codes, weight * torch.stack([torch.ones_like(second), ~second, second], dim=1))
    whole, *halves = (torch.lgamma(statistics.count) + log_evidence(prior, statistics)).tolist()
    return math.log(concentration) + float(sum(halves) - whole)
