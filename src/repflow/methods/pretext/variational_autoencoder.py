"""Variational autoencoder: encode images as a distribution of latent codes, from which a decoder reconstructs them.

Kingma, Welling. Auto-Encoding Variational Bayes. ICLR 2014; the weight beta by Higgins et al. beta-VAE: Learning Basic
Visual Concepts with a Constrained Variational Framework. ICLR 2017; the likelihood of 8-bit values by Kingma et al.
Improved Variational Inference with Inverse Autoregressive Flow. NeurIPS 2016.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from repflow.augment.policy import Policy, PolicyConfig
from repflow.data.read.batches import Batches
from repflow.encoders import Encoder
from repflow.methods.parts.decoder import Decoder
from repflow.randomness.draws import Draw
from repflow.schema import Count, NonNegative, parameters
from repflow.training.contract import EncoderMethod, Losses


@parameters
class Config:
    """The parameters of the variational autoencoder.

    Attributes:
        augment: augmentation policy.
        codes: dimension of the latent code.
        beta: weight of the Kullback-Leibler divergence from the standard normal prior.
        decoder: channels of the decoder's stages, each of which doubles height and width.
    """

    augment: PolicyConfig = ()
    codes: Count = 64
    beta: NonNegative = 1.0
    decoder: tuple[Count, ...] = (64, 32, 16)


class VariationalAutoencoder(EncoderMethod):
    """The encoder with a linear layer to mean and log-variance of the latent code, and a decoder."""

    streams = ("unlabelled",)
    columns = ("image", "reconstruction")

    def __init__(self, config: Config, encoder: Encoder):
        super().__init__(encoder)
        self.config = config
        self.augment = Policy(config.augment)
        channels = len(encoder.mean)
        self.posterior = nn.Linear(encoder.width, 2 * config.codes)
        self.decoder = Decoder(config.codes, config.decoder, channels)
        self.log_scale = nn.Parameter(torch.full((channels, 1, 1), math.log(0.1)))  # of the logistic distribution

    def losses(self, batch: Batches, draw: Draw) -> Losses:
        """The negative beta-weighted evidence lower bound, in bits per dimension."""
        images = self.augment(batch["unlabelled"].images, draw.stream("augment"))  # [B, C, H, W]
        mean, log_variance = self.posterior(self.encoder(images)).to(images).chunk(2, dim=1)  # [B, codes] each
        codes = mean + (log_variance / 2).exp() * draw.stream("codes").normal(*mean.shape)
        likelihood = log_likelihood(images, self.decode(codes, images.shape[2:]), self.log_scale)
        bits = math.log(2) * images[0].numel()
        distortion = -likelihood.sum((1, 2, 3)).mean() / bits
        rate = divergence(mean, log_variance).sum(1).mean() / bits
        metrics = {"bits_per_dimension": distortion + rate, "distortion": distortion, "rate": rate}
        return Losses(distortion + self.config.beta * rate, metrics)

    def decode(self, codes: Tensor, size: tuple[int, ...]) -> Tensor:
        """Decode latent codes [B, codes] to mean images [B, C, *size] in [0, 1]."""
        made: Tensor = self.decoder(codes, size)
        return made.to(codes).sigmoid()

    def sample(self, count: int, size: tuple[int, ...], draw: Draw) -> Tensor:
        """Images [count, C, *size] in [0, 1] decoded from samples of the prior."""
        return self.decode(draw.stream("codes").normal(count, self.config.codes), size)

    @torch.no_grad()
    def figures(self, images: Tensor) -> Tensor:
        """Images [B, C, H, W], and reconstructions from the mean codes: [B, 2, C, H, W]."""
        mean, _ = self.posterior(self.encoder(images)).chunk(2, dim=1)
        return torch.stack([images, self.decode(mean, images.shape[2:])], dim=1)


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Kullback-Leibler divergence of normal distributions from the standard one, in nats, of the arguments' shape."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance)


def log_likelihood(images: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    """Log-likelihood of each 8-bit value under a discretised logistic distribution, in nats.

    Args:
        images: [B, C, H, W] in [0, 1]; the end bins extend to infinity.
        mean: [B, C, H, W].
        log_scale: of the distribution, [C, 1, 1].

    Returns:
        [B, C, H, W].
    """
    step = 1 / 255
    narrow = (-log_scale).exp()
    upper, lower = (images - mean + step / 2) * narrow, (images - mean - step / 2) * narrow
    # sigmoid(upper) - sigmoid(lower) = sigmoid(upper) sigmoid(-lower) (1 - exp(lower - upper)), without cancellation
    below, above = F.logsigmoid(upper), F.logsigmoid(-lower)
    inside = below + above + (-torch.expm1(-step * narrow)).log()
    return torch.where(images < step / 2, below, torch.where(images > 1 - step / 2, above, inside))
