"""The Fréchet distance between generated and real images: between Gaussians fitted to their features.

Dowson, Landau. The Fréchet Distance between Multivariate Normal Distributions. Journal of Multivariate Analysis 1982;
for generated images: Heusel, Ramsauer, Unterthiner, Nessler, Hochreiter. GANs Trained by a Two Time-Scale Update Rule
Converge to a Local Nash Equilibrium. NeurIPS 2017.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Gaussian:
    """A normal distribution.

    Attributes:
        mean: float64 [width].
        covariance: float64 [width, width], symmetric, without negative eigenvalues.
    """

    mean: np.ndarray
    covariance: np.ndarray


def fitted(features: np.ndarray) -> Gaussian:
    """The normal distribution with the mean and the unbiased covariance of features, float [N, width], N at least 2."""
    exact = features.astype(np.float64)
    return Gaussian(exact.mean(axis=0), np.atleast_2d(np.cov(exact, rowvar=False)))


def frechet_distance(one: Gaussian, other: Gaussian) -> float:
    """|m₁ − m₂|² + tr(C₁ + C₂ − 2 (C₁C₂)^½): 0 for equal distributions, in the features' unit squared.

    The trace of (C₁C₂)^½ is the sum of the singular values of C₁^½ C₂^½, which, unlike a matrix root of the product,
    stays real and accurate where covariances are singular.
    """
    cross = np.linalg.svd(_root(one.covariance) @ _root(other.covariance), compute_uv=False).sum()
    apart = np.square(one.mean - other.mean).sum()
    return max(0.0, float(apart + np.trace(one.covariance) + np.trace(other.covariance) - 2 * cross))


def _root(covariance: np.ndarray) -> np.ndarray:
    """The symmetric square root."""
    values, vectors = np.linalg.eigh(covariance)
    root: np.ndarray = (vectors * np.sqrt(values.clip(min=0))) @ vectors.T
    return root
