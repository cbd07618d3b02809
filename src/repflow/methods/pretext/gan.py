"""GAN: a generator makes images that a discriminator cannot tell from real ones; its features are kept.

Goodfellow et al. Generative Adversarial Nets. NeurIPS 2014; the discriminator as a representation by Radford, Metz,
Chintala. Unsupervised Representation Learning with Deep Convolutional Generative Adversarial Networks. ICLR 2016.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from repflow.augment.policy import Policy, PolicyConfig
from repflow.data.read.batches import Batches
from repflow.encoders import Encoder
from repflow.methods.parts import game
from repflow.methods.parts.generator import Generator
from repflow.randomness.draws import Draw
from repflow.schema import Count, parameters
from repflow.training.contract import EncoderMethod, Losses, Update


@parameters
class Config:
    """The GAN's parameters.

    Attributes:
        augment: the policy that the real images go through.
        loss: "non_saturating" (Goodfellow et al.) or "hinge" (Lim and Ye, 2017).
        codes: width of the generator's random codes.
        generator: channels of its stages, from 4x4 pixels on, each of twice the height and width of the one before.
    """

    augment: PolicyConfig = ()
    loss: Literal["non_saturating", "hinge"] = "non_saturating"
    codes: Count = 64
    generator: tuple[Count, ...] = (128, 64, 32)


class GAN(EncoderMethod):
    """The encoder below the discriminator's linear layer, against a generator."""

    streams = ("unlabelled",)

    def __init__(self, config: Config, encoder: Encoder):
        super().__init__(encoder)
        self.config = config
        self.augment = Policy(config.augment)
        self.head = nn.Linear(encoder.width, 1)
        self.generator = Generator(config.codes, config.generator, channels=len(encoder.mean))

    @property
    def updates(self) -> tuple[Update, ...]:
        """The discriminator learns first, then the generator."""
        return (Update(self.discriminate, (self.encoder, self.head)), Update(self.generate, (self.generator,)))

    def discriminate(self, batch: Batches, draw: Draw) -> Losses:
        """The discriminator's turn."""
        images = self.augment(batch["unlabelled"].images, draw.stream("augment"))  # [B, C, H, W]
        with torch.no_grad():
            made = self.sample(len(images), images.shape[2:], draw)
        return self.tell_apart(images, made)

    def generate(self, batch: Batches, draw: Draw) -> Losses:
        """The generator's turn."""
        images = batch["unlabelled"].images
        return self.deceive(self.sample(len(images), images.shape[2:], draw))

    def tell_apart(self, images: Tensor, made: Tensor) -> Losses:
        """Real images should score high, made ones low."""
        real, fake = self.score(images), self.score(made)  # [B]
        if self.config.loss == "hinge":
            loss = F.relu(1 - real).mean() + F.relu(1 + fake).mean()
        else:
            loss = game.tell_apart(real, fake)
        return Losses(loss, {"discriminator": loss, "told_apart": game.told_apart(real, fake)})

    def deceive(self, made: Tensor) -> Losses:
        """Made images should score high."""
        fake = self.score(made)  # [B]
        loss = -fake.mean() if self.config.loss == "hinge" else game.look_real(fake)
        return Losses(loss, {"generator": loss})

    def sample(self, count: int, size: tuple[int, ...], draw: Draw) -> Tensor:
        """Made images [count, C, *size] in [0, 1]."""
        codes = draw.stream("codes").normal(count, self.config.codes)
        made: Tensor = self.generator(codes, size)
        return made

    def score(self, images: Tensor) -> Tensor:
        """How real images look: [B]."""
        scores: Tensor = self.head(self.encoder(images))[:, 0]
        return scores
