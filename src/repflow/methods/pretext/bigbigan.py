"""BigBiGAN: a BiGAN whose discriminator also judges images and codes on their own, and whose encoder gives chances.

Donahue, Simonyan. Large Scale Adversarial Representation Learning. NeurIPS 2019.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from repflow.data.read.batches import Batches
from repflow.encoders import Encoder
from repflow.encoders.convolutional import SmallConfig, small
from repflow.methods.parts.game import told_apart
from repflow.methods.pretext import bigan
from repflow.randomness.draws import Draw
from repflow.schema import Count, parameters
from repflow.training.contract import Losses


@parameters
class Config(bigan.Config):
    """BigBiGAN's parameters are BiGAN's, `hidden` the width of all layers of the discriminator that see codes."""

    codes: Count = 64


class Discriminator(nn.Module):
    """Three scores of a pair: of the image, of the code, and of both together."""

    def __init__(self, config: Config, channels: int):
        super().__init__()
        body, width = small(SmallConfig(widths=config.discriminator), channels)
        self.image = Encoder(body, width, channels)  # F
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
    """A BiGAN with normal codes, of which its encoder tells the means and the deviations."""

    def __init__(self, config: Config, encoder: Encoder):
        super().__init__(config, encoder)
        self.to_codes = nn.Linear(encoder.width, 2 * config.codes)
        self.discriminator = Discriminator(config, channels=len(encoder.mean))

    def discriminate(self, batch: Batches, draw: Draw) -> Losses:
        """Each of the three scores should be above 1 for an image with its code, below -1 for a code with its image."""
        encoded, decoded = self.scores(batch, draw)  # [B, 3]
        loss = (F.relu(1 - encoded) + F.relu(1 + decoded)).sum(dim=1).mean()
        right = map(told_apart, encoded.unbind(1), decoded.unbind(1))
        names = ("image_told_apart", "code_told_apart", "pair_told_apart")
        return Losses(loss, {"discriminator": loss, **dict(zip(names, right, strict=True))})

    def agree(self, batch: Batches, draw: Draw) -> Losses:
        """The sum of the scores should be low for an image with its code, high for a code with its image."""
        encoded, decoded = self.scores(batch, draw)
        loss = (encoded - decoded).sum(dim=1).mean()
        return Losses(loss, {"encoder_and_generator": loss})

    def encode(self, images: Tensor, draw: Draw) -> Tensor:
        """Codes [B, codes] drawn from the normal distribution that the encoder gives each image."""
        mean, spread = self.to_codes(self.encoder(images)).chunk(2, dim=1)
        codes: Tensor = mean + F.softplus(spread) * draw.stream("encoded").normal(*mean.shape)
        return codes

    def draw_codes(self, count: int, draw: Draw) -> Tensor:
        """Random codes [count, codes]."""
        return draw.stream("codes").normal(count, self.config.codes)


def _layers(inputs: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, width), nn.LeakyReLU(0.2), nn.Linear(width, width), nn.LeakyReLU(0.2))
