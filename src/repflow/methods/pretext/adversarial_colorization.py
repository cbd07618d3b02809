"""Adversarial colorization: predict colours from lightness with an L1 and an adversarial loss.

Isola, Zhu, Zhou, Efros. Image-to-Image Translation with Conditional Adversarial Networks. CVPR 2017.
"""

from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from repflow.augment.color_spaces import without_colour
from repflow.augment.policy import Policy, PolicyConfig
from repflow.data.read.batches import Batches
from repflow.encoders import Encoder
from repflow.encoders.dropout import Dropout
from repflow.encoders.lightness import without_colour_for
from repflow.encoders.split import join_lab, split_lab
from repflow.errors import ParameterError
from repflow.methods.parts.adversarial_losses import discriminator_accuracy, discriminator_loss, generator_loss
from repflow.methods.parts.discriminator import PatchDiscriminator
from repflow.methods.parts.upsampler import Upsampler
from repflow.randomness.draws import Draw
from repflow.schema import Count, NonNegative, parameters
from repflow.training.contract import EncoderMethod, Losses, Update


@parameters
class Config:
    """The parameters of adversarial colorization.

    Attributes:
        augment: augmentation policy.
        distance: weight of the L1 loss; the adversarial loss has weight 1.
        noise: dropout probability on the encoder's feature maps, the generator's source of noise.
        decoder: channels of the generator's stages, each of which doubles height and width.
        discriminator: channels of the discriminator's stages, each of which halves height and width.
    """

    augment: PolicyConfig = ()
    distance: NonNegative = 100.0
    noise: Annotated[float, Field(ge=0, lt=1)] = 0.5
    decoder: tuple[Count, ...] = (64, 32, 16)
    discriminator: tuple[Count, ...] = (32, 64)


class AdversarialColorization(EncoderMethod):
    """The generator is the encoder with a decoder to a and b; the discriminator is conditioned on the lightness."""

    streams = ("unlabelled",)
    columns = ("image", "grey input", "predicted colours")

    def __init__(self, config: Config, encoder: Encoder):
        super().__init__(encoder)
        if len(encoder.mean) != 3:
            raise ParameterError(
                "pretrain.name: adversarial_colorization takes images with colours; set data.channels to 3"
            )
        self.config = config
        self.augment = Policy(config.augment)
        self.noise = Dropout(config.noise)
        self.decoder = Upsampler(encoder.width, config.decoder, channels=2, skip=1)
        self.discriminator = PatchDiscriminator(3, config.discriminator)

    @property
    def updates(self) -> tuple[Update, ...]:
        """First the discriminator, then the generator, which includes the encoder."""
        return (
            Update(self.discriminate, (self.discriminator,)),
            Update(self.generate, (self.encoder, self.decoder)),
        )

    def discriminate(self, batch: Batches, draw: Draw) -> Losses:
        """The discriminator's loss on true and predicted colours, conditioned on the lightness."""
        images = self.augment(batch["unlabelled"].images, draw.stream("augment"))  # [B, 3, H, W]
        lightness, colour = split_lab(images)  # [B, 1, H, W] and [B, 2, H, W]
        with torch.no_grad():
            predicted = self.colours(images)
        real, fake = self.score(lightness, colour), self.score(lightness, predicted)
        loss = 0.5 * discriminator_loss(real, fake)  # halved as in the paper, to slow the discriminator
        return Losses(loss, {"discriminator": loss, "discriminator_accuracy": discriminator_accuracy(real, fake)})

    def generate(self, batch: Batches, draw: Draw) -> Losses:
        """The generator's adversarial loss plus the weighted L1 loss."""
        images = self.augment(batch["unlabelled"].images, draw.stream("augment"))
        lightness, colour = split_lab(images)
        predicted = self.colours(images)
        adversarial, error = generator_loss(self.score(lightness, predicted)), F.l1_loss(predicted, colour)
        return Losses(adversarial + self.config.distance * error, {"generator": adversarial, "error": error})

    def colours(self, images: Tensor) -> Tensor:
        """Colours predicted from the lightness of images [B, 3, H, W], scaled as in `split_lab`: [B, 2, H, W]."""
        maps = self.noise(self.encoder.maps(without_colour_for(self.encoder, images)))  # [B, width, h, w]
        colours: Tensor = self.decoder(maps, images.shape[2:], skip=split_lab(images)[0])
        return colours.tanh()

    def score(self, lightness: Tensor, colour: Tensor) -> Tensor:
        """The discriminator's logits for these colours given the lightness, per patch: [B, 1, h, w]."""
        scores: Tensor = self.discriminator(torch.cat([lightness, colour], dim=1))
        return scores

    @torch.no_grad()
    def figures(self, images: Tensor) -> Tensor:
        """Images [B, 3, H, W], grey inputs, and images with predicted colours: [B, 3, 3, H, W]."""
        lightness, _ = split_lab(images)
        predicted = join_lab(lightness, self.colours(images))
        return torch.stack([images, without_colour(images), predicted], dim=1)
