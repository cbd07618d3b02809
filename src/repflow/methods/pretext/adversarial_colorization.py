"""Adversarial colorization: give a grey image colours that a discriminator cannot tell from its own.

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
from repflow.encoders.split import join_lab, split_lab
from repflow.errors import ParameterError
from repflow.methods.parts.discriminator import PatchDiscriminator
from repflow.methods.parts.game import look_real, tell_apart, told_apart
from repflow.methods.parts.upsampler import Upsampler
from repflow.randomness.draws import Draw
from repflow.schema import Count, NonNegative, parameters
from repflow.training.contract import EncoderMethod, Losses, Update


@parameters
class Config:
    """The parameters of adversarial colorization.

    Attributes:
        augment: the policy that makes the image.
        distance: weight of the absolute error beside the adversarial loss.
        noise: share of the encoder's maps that dropout takes away: the noise of the generator.
        decoder: channels of the generator's stages, each of twice the height and width of the one before.
        discriminator: channels of its stages, each of half the height and width of the one before.
    """

    augment: PolicyConfig = ()
    distance: NonNegative = 100.0
    noise: Annotated[float, Field(ge=0, lt=1)] = 0.5
    decoder: tuple[Count, ...] = (64, 32, 16)
    discriminator: tuple[Count, ...] = (32, 64)


class AdversarialColorization(EncoderMethod):
    """The encoder below a decoder that gives a and b, against a discriminator that sees them beside the lightness."""

    streams = ("unlabelled",)
    columns = ("image", "without its colours", "coloured")

    def __init__(self, config: Config, encoder: Encoder):
        super().__init__(encoder)
        if len(encoder.mean) != 3:
            raise ParameterError(
                "pretrain.name: adversarial_colorization takes images with colours; set data.channels to 3"
            )
        self.config = config
        self.augment = Policy(config.augment)
        self.noise = Dropout(config.noise)
        self.decoder = Upsampler(encoder.width, config.decoder, channels=2, beside=1)
        self.discriminator = PatchDiscriminator(3, config.discriminator)

    @property
    def updates(self) -> tuple[Update, ...]:
        """The discriminator learns first, then the generator, which the encoder is part of."""
        return (
            Update(self.discriminate, (self.discriminator,)),
            Update(self.generate, (self.encoder, self.decoder)),
        )

    def discriminate(self, batch: Batches, draw: Draw) -> Losses:
        """True colours should score high, made ones low, each beside its lightness."""
        images = self.augment(batch["unlabelled"].images, draw.stream("augment"))  # [B, 3, H, W]
        lightness, colour = split_lab(images)  # [B, 1, H, W] and [B, 2, H, W]
        with torch.no_grad():
            made = self.colours(images)
        real, fake = self.score(lightness, colour), self.score(lightness, made)
        loss = 0.5 * tell_apart(real, fake)  # halved as in the paper, to slow the discriminator
        return Losses(loss, {"discriminator": loss, "told_apart": told_apart(real, fake)})

    def generate(self, batch: Batches, draw: Draw) -> Losses:
        """Made colours should score high, and be near the true ones."""
        images = self.augment(batch["unlabelled"].images, draw.stream("augment"))
        lightness, colour = split_lab(images)
        made = self.colours(images)
        adversarial, error = look_real(self.score(lightness, made)), F.l1_loss(made, colour)
        return Losses(adversarial + self.config.distance * error, {"generator": adversarial, "error": error})

    def colours(self, images: Tensor) -> Tensor:
        """Colours made from the lightness of images [B, 3, H, W] alone, as `split_lab` gives them: [B, 2, H, W]."""
        maps = self.noise(self.encoder.maps(without_colour(images)))  # [B, width, h, w]
        colours: Tensor = self.decoder(maps, images.shape[2:], beside=split_lab(images)[0])
        return colours.tanh()

    def score(self, lightness: Tensor, colour: Tensor) -> Tensor:
        """How real the colours look for this lightness, patch by patch: [B, 1, h, w]."""
        scores: Tensor = self.discriminator(torch.cat([lightness, colour], dim=1))
        return scores

    @torch.no_grad()
    def pictures(self, images: Tensor) -> Tensor:
        """Images [B, 3, H, W], these without their colours, and with the made ones: [B, 3, 3, H, W]."""
        lightness, _ = split_lab(images)
        made = join_lab(lightness, self.colours(images))
        return torch.stack([images, without_colour(images), made], dim=1)
