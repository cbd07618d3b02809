"""GAN: adversarial training of a generator and a discriminator, whose features are the representation.

Goodfellow et al. Generative Adversarial Nets. NeurIPS 2014; the discriminator as a representation by Radford, Metz,
Chintala. Unsupervised Representation Learning with Deep Convolutional Generative Adversarial Networks. ICLR 2016.
"""

from collections.abc import Mapping
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from repflow.augment.policy import Policy, PolicyConfig
from repflow.data.read.batches import Batches, Stream
from repflow.encoders import Encoder
from repflow.encoders.multi_layer import MultiLayerEncoder
from repflow.methods.parts import adversarial_losses, spectral_normalisation
from repflow.methods.parts.generator import Generator
from repflow.randomness.draws import Draw
from repflow.schema import Count, parameters
from repflow.training.contract import EncoderMethod, Losses, Update


@parameters
class Config:
    """The GAN's parameters.

    Attributes:
        augment: augmentation policy of the real images.
        loss: "non_saturating" (Goodfellow et al.) or "hinge" (Lim and Ye, 2017).
        codes: dimension of the latent codes.
        generator: channels of the generator's stages, the first at 4x4 pixels, each doubling height and width.
        spectral: whether all weights of the discriminator are normalised spectrally (Miyato et al., ICLR 2018). Below a
            normalisation of activations, which undoes every scale, it has no effect.
    """

    augment: PolicyConfig = ()
    loss: Literal["non_saturating", "hinge"] = "non_saturating"
    codes: Count = 64
    generator: tuple[Count, ...] = (128, 64, 32)
    spectral: bool = False


class GAN(EncoderMethod):
    """The discriminator is the encoder with a linear layer; of an encoder read at all layers, the inner one."""

    streams = ("unlabelled",)

    def __init__(self, config: Config, encoder: Encoder):
        super().__init__(encoder)
        self.config = config
        self.augment = Policy(config.augment)
        self.head = nn.Linear(self.trunk.width, 1)
        self.generator = Generator(config.codes, config.generator, channels=len(encoder.mean))
        if config.spectral:
            spectral_normalisation.normalise(encoder, self.head)

    @property
    def trunk(self) -> Encoder:
        """The discriminator's body: the encoder, or the one that it reads."""
        return self.encoder.inner if isinstance(self.encoder, MultiLayerEncoder) else self.encoder

    @property
    def discriminator(self) -> tuple[nn.Module, ...]:
        """The discriminator's modules."""
        return self.encoder, self.head

    @property
    def updates(self) -> tuple[Update, ...]:
        """First the discriminator, then the generator."""
        return (Update(self.discriminate, self.discriminator), Update(self.generate, (self.generator,)))

    def after_step(self) -> None:
        """One power iteration, as the weights have changed."""
        spectral_normalisation.iterate(*self.discriminator)

    def finish(self, streams: Mapping[str, Stream]) -> None:
        """The encoder's weights become the normalised ones."""
        spectral_normalisation.fix(*self.discriminator)

    def discriminate(self, batch: Batches, draw: Draw) -> Losses:
        """The discriminator's update."""
        images = self.augment(batch["unlabelled"].images, draw.stream("augment"))  # [B, C, H, W]
        with torch.no_grad():
            generated = self.sample(len(images), images.shape[2:], draw)
        return self.discriminator_losses(images, generated)

    def generate(self, batch: Batches, draw: Draw) -> Losses:
        """The generator's update."""
        images = batch["unlabelled"].images
        return self.generator_losses(self.sample(len(images), images.shape[2:], draw))

    def discriminator_losses(self, images: Tensor, generated: Tensor) -> Losses:
        """The discriminator's loss on real and generated images."""
        real, fake = self.score(images), self.score(generated)  # [B]
        if self.config.loss == "hinge":
            loss = F.relu(1 - real).mean() + F.relu(1 + fake).mean()
        else:
            loss = adversarial_losses.discriminator_loss(real, fake)
        return Losses(
            loss,
            {"discriminator": loss, "discriminator_accuracy": adversarial_losses.discriminator_accuracy(real, fake)},
        )

    def generator_losses(self, generated: Tensor) -> Losses:
        """The generator's loss on generated images."""
        fake = self.score(generated)  # [B]
        loss = -fake.mean() if self.config.loss == "hinge" else adversarial_losses.generator_loss(fake)
        return Losses(loss, {"generator": loss})

    def sample(self, count: int, size: tuple[int, ...], draw: Draw) -> Tensor:
        """Generated images [count, C, *size] in [0, 1]."""
        codes = draw.stream("codes").normal(count, self.config.codes)
        generated: Tensor = self.generator(codes, size)
        return generated

    def score(self, images: Tensor) -> Tensor:
        """The discriminator's logits [B]; high for real images."""
        scores: Tensor = self.head(self.trunk(images))[:, 0]
        return scores
