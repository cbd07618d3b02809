"""Variational autoencoder: codes that follow a known distribution, from which images can be drawn.

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
        augment: the policy that makes the image.
        codes: width of the code.
        beta: weight of the divergence of the code's distribution from the standard normal one.
        decoder: channels of the decoder's stages, each of twice the height and width of the one before.
    """

    augment: PolicyConfig = ()
    codes: Count = 64
    beta: NonNegative = 1.0
    decoder: tuple[Count, ...] = (64, 32, 16)


class VariationalAutoencoder(EncoderMethod):
    """The encoder below the mean and the variance of a normal distribution of codes, and a decoder."""

    streams = ("unlabelled",)
    columns = ("image", "made of the mean of its codes")

    def __init__(self, config: Config, encoder: Encoder):
        super().__init__(encoder)
        self.config = config
        self.augment = Policy(config.augment)
        channels = len(encoder.mean)
        self.posterior = nn.Linear(encoder.width, 2 * config.codes)
        self.decoder = Decoder(config.codes, config.decoder, channels)
        self.log_scale = nn.Parameter(torch.full((channels, 1, 1), math.log(0.1)))  # of the logistic distribution

    def losses(self, batch: Batches, draw: Draw) -> Losses:
        """Minus the evidence lower bound with beta, in bits per value of the image."""
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
        """Means [B, C, *size] in [0, 1] of the images of codes [B, codes]."""
        made: Tensor = self.decoder(codes, size)
        return made.to(codes).sigmoid()

    def sample(self, count: int, size: tuple[int, ...], draw: Draw) -> Tensor:
        """Images [count, C, *size] in [0, 1] of codes drawn from the standard normal distribution."""
        return self.decode(draw.stream("codes").normal(count, self.config.codes), size)

    @torch.no_grad()
    def pictures(self, images: Tensor) -> Tensor:
        """Images [B, C, H, W], and what is made of the means of their codes: [B, 2, C, H, W]."""
        mean, _ = self.posterior(self.encoder(images)).chunk(2, dim=1)
        return torch.stack([images, self.decode(mean, images.shape[2:])], dim=1)


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Kullback-Leibler divergence of normal distributions from the standard one, in nats, of the arguments' shape."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance)


def log_likelihood(images: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    """Log probability in nats that a logistic distribution, rounded to 8 bits, gives each value.

    Args:
        images: [B, C, H, W] in [0, 1]; the ends stand for all that lies beyond them.
        mean: [B, C, H, W].
        log_scale: of the distribution, [C, 1, 1].

    Returns:
        [B, C, H, W].
    """
    step = 1 / 255
    narrow = (-log_scale).exp()
    upper, lower = (images - mean + step / 2) * narrow, (images - mean - step / 2) * narrow
    # sigmoid(upper) - sigmoid(lower) = sigmoid(upper) sigmoid(-lower) (1 - exp(lower - upper)), which loses no digits
    below, above = F.logsigmoid(upper), F.logsigmoid(-lower)
    inside = below + above + (-torch.expm1(-step * narrow)).log()
    return torch.where(images < step / 2, below, torch.where(images > 1 - step / 2, above, inside))
