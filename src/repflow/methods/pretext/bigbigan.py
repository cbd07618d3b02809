"""BigBiGAN: a BiGAN with additional unary discriminator losses for images and codes, and a stochastic encoder.

Donahue, Simonyan. Large Scale Adversarial Representation Learning. NeurIPS 2019.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from repflow.data.read.batches import Batches
from repflow.encoders import Encoder
from repflow.methods.parts.adversarial_losses import discriminator_accuracy
from repflow.methods.parts.discriminator import SLOPE, image_features
from repflow.methods.pretext import bigan
from repflow.randomness.draws import Draw
from repflow.schema import Count, parameters
from repflow.training.contract import Losses


@parameters
class Config(bigan.Config):
    """BiGAN's parameters; `hidden` is the width of all discriminator layers for codes and pairs."""

    codes: Count = 64


class Discriminator(nn.Module):
    """Three logits of a pair: of the image, of the code, and of the pair."""

    def __init__(self, config: bigan.Config, channels: int):
        super().__init__()
        self.image = image_features(config.discriminator, channels, config.spectral)  # F
        width = self.image.width
        self.code = _layers(config.codes, config.hidden)  # H
        self.pair = _layers(width + config.hidden, config.hidden)  # J
        self.score_image = nn.Linear(width, 1)
        self.score_code = nn.Linear(config.hidden, 1)
        self.score_pair = nn.Linear(config.hidden, 1)

    def forward(self, images: Tensor, codes: Tensor) -> Tensor:
        """s_x, s_z and s_xz [B, 3] of images [B, C, H, W] and codes [B, codes]."""
        image, code = self.image(images), self.code(codes)
        pair = self.pair(torch.cat([image, code], dim=1))
        return torch.cat([self.score_image(image), self.score_code(code), self.score_pair(pair)], dim=1)


class BigBiGAN(bigan.BiGAN):
    """A BiGAN with normally distributed codes; its encoder outputs their mean and standard deviation."""

    def __init__(self, config: Config, encoder: Encoder):
        super().__init__(config, encoder)
        self.to_codes = nn.Linear(encoder.width, 2 * config.codes)

    @staticmethod
    def new_discriminator(config: bigan.Config, channels: int) -> nn.Module:
        """The discriminator of images with so many channels."""
        return Discriminator(config, channels)

    def discriminate(self, batch: Batches, draw: Draw) -> Losses:
        """Hinge losses of the three logits: above 1 for encoded pairs, below -1 for generated ones."""
        encoded, decoded = self.scores(batch, draw)  # [B, 3]
        loss = (F.relu(1 - encoded) + F.relu(1 + decoded)).sum(dim=1).mean()
        right = map(discriminator_accuracy, encoded.unbind(1), decoded.unbind(1))
        names = ("image_accuracy", "code_accuracy", "pair_accuracy")
        return Losses(loss, {"discriminator": loss, **dict(zip(names, right, strict=True))})

    def generate_and_encode(self, batch: Batches, draw: Draw) -> Losses:
        """The loss of encoder and generator: the sum of logits of encoded pairs minus that of generated pairs."""
        encoded, decoded = self.scores(batch, draw)
        loss = (encoded - decoded).sum(dim=1).mean()
        return Losses(loss, {"encoder_and_generator": loss})

    def encode(self, images: Tensor, draw: Draw) -> Tensor:
        """Codes [B, codes] sampled from the encoder's normal distribution of each image."""
        mean, spread = self.to_codes(self.encoder(images)).chunk(2, dim=1)
        codes: Tensor = mean + F.softplus(spread) * draw.stream("encoded").normal(*mean.shape)
        return codes

    def draw_codes(self, count: int, draw: Draw) -> Tensor:
        """Random latent codes [count, codes]."""
        return draw.stream("codes").normal(count, self.config.codes)


def _layers(inputs: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, width), nn.LeakyReLU(SLOPE), nn.Linear(width, width), nn.LeakyReLU(SLOPE))
