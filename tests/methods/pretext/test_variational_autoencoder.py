"""The variational autoencoder's bound against SciPy's and PyTorch's distributions."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import logistic
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from repflow.data.read.batches import Batch, Batches
from repflow.encoders import build_encoder
from repflow.encoders.convolutional import SmallConfig
from repflow.methods.pretext.variational_autoencoder import Config, VariationalAutoencoder, divergence, log_likelihood
from repflow.randomness.draws import Draw

LEVELS = Draw(0, "images").integers(4, 3, 16, 16, high=256)
LEVELS[0, :, :8], LEVELS[1, :, :8] = 0, 255
IMAGES = LEVELS / 255
BATCH = Batches({"unlabelled": Batch(IMAGES, torch.full((4,), -1), torch.arange(4))}, 0.0)


def made(beta: float) -> VariationalAutoencoder:
    torch.manual_seed(0)
    config = Config(codes=5, beta=beta, decoder=(8, 4))
    return VariationalAutoencoder(config, build_encoder(SmallConfig(widths=(8, 16)), 3, 16))


def naive(level: Tensor, mean: Tensor, scale: float) -> np.ndarray:
    """Log of the mass between the half-way points to the neighbouring levels; the last ones reach to infinity."""
    levels, centre = level.numpy(), mean.double().numpy()
    upper = np.where(levels == 255, np.inf, (levels + 0.5) / 255)
    lower = np.where(levels == 0, -np.inf, (levels - 0.5) / 255)
    return np.log(logistic.cdf(upper, centre, scale) - logistic.cdf(lower, centre, scale))


def test_the_likelihood_is_the_mass_of_a_logistic_distribution_on_each_level() -> None:
    mean = Draw(0, "mean").uniform(4, 3, 16, 16)
    found = log_likelihood(IMAGES, mean, torch.full((3, 1, 1), math.log(0.3)))
    assert np.allclose(found.numpy(), naive(LEVELS, mean, 0.3), rtol=1e-5)
    levels = torch.arange(256).view(256, 1, 1, 1)
    every = log_likelihood(levels / 255, torch.full((256, 1, 1, 1), 0.4), torch.full((1, 1, 1), math.log(0.05)))
    assert every.double().exp().sum().item() == pytest.approx(1, rel=1e-5), "a distribution of 256 levels"


def test_the_divergence_equals_pytorch_s() -> None:
    mean, log_variance = Draw(0, "codes").normal(2, 4, 5)
    right = kl_divergence(Normal(mean, (log_variance / 2).exp()), Normal(torch.zeros(4, 5), torch.ones(4, 5)))
    assert torch.allclose(divergence(mean, log_variance), right, atol=1e-6)


@pytest.mark.parametrize("beta", [1.0, 4.0])
def test_the_loss_is_the_bound_in_bits_with_beta(beta: float) -> None:
    method = made(beta)
    noise = Draw(0, "step").stream("codes").normal(4, 5)
    with torch.no_grad():
        mean, log_variance = method.posterior(method.encoder(IMAGES)).chunk(2, dim=1)
        posterior = Normal(mean, (log_variance / 2).exp())
        images = method.decode(posterior.mean + posterior.stddev * noise, (16, 16))
    nats = -naive(LEVELS, images, 0.1).sum() / 4
    rate = kl_divergence(posterior, Normal(torch.zeros(5), torch.ones(5))).sum().item() / 4
    found = method.losses(BATCH, Draw(0, "step"))
    assert found.total.item() == pytest.approx((nats + beta * rate) / (768 * math.log(2)), rel=1e-5)
    assert found.metrics["bits_per_dimension"].item() == pytest.approx((nats + rate) / (768 * math.log(2)), rel=1e-5)


def test_samples_are_images() -> None:
    images = made(1.0).sample(6, (16, 16), Draw(0, "sample"))
    assert images.shape == (6, 3, 16, 16)
    assert images.min() >= 0
    assert images.max() <= 1
    assert not torch.equal(images[0], images[1])


def test_figures_show_images_and_reconstructions_from_mean_codes() -> None:
    method = made(1.0)
    figures = method.figures(IMAGES)
    assert torch.equal(figures[:, 0], IMAGES)
    assert torch.equal(figures[:, 1], method.figures(IMAGES)[:, 1]), "without noise"
