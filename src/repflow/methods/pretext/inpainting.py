"""Inpainting by a context encoder: paint what is missing in an image, from what is around it.

Pathak, Krähenbühl, Donahue, Darrell, Efros. Context Encoders: Feature Learning by Inpainting. CVPR 2016.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from repflow.augment.policy import Policy, PolicyConfig
from repflow.data.read.batches import Batches
from repflow.encoders import Encoder
from repflow.methods.parts.decoder import Decoder
from repflow.methods.parts.discriminator import PatchDiscriminator
from repflow.methods.parts.game import look_real, tell_apart, told_apart
from repflow.randomness.draws import Draw
from repflow.schema import Count, NonNegative, parameters
from repflow.training.contract import EncoderMethod, Losses, Update

Missing = Literal["central", "blocks", "region"]


@parameters
class Config:
    """The context encoder's parameters.

    Attributes:
        augment: the policy that makes the image.
        missing: "central", a square of half the side; "blocks", four squares of a quarter of the side that may overlap;
            "region", a quarter of the image in random shapes.
        adversarial: weight of the adversarial loss beside the squared error; at 0 there is no discriminator.
        decoder: channels of the decoder's stages, each of twice the height and width of the one before.
        discriminator: channels of its stages, each of half the height and width of the one before.
    """

    augment: PolicyConfig = ()
    missing: Missing = "region"
    adversarial: NonNegative = 0.0
    decoder: tuple[Count, ...] = (64, 32, 16)
    discriminator: tuple[Count, ...] = (32, 64)


class ContextEncoder(EncoderMethod):
    """The encoder below a decoder, and a discriminator of painted images if one is wanted."""

    streams = ("unlabelled",)
    columns = ("image", "with holes", "painted")

    def __init__(self, config: Config, encoder: Encoder):
        super().__init__(encoder)
        self.config = config
        self.augment = Policy(config.augment)
        channels = len(encoder.mean)
        self.decoder = Decoder(encoder.width, config.decoder, channels)
        self.discriminator = PatchDiscriminator(channels, config.discriminator) if config.adversarial else None

    @property
    def updates(self) -> tuple[Update, ...]:
        """The discriminator learns first if there is one, then the painter."""
        paint = Update(self.losses, (self.encoder, self.decoder))
        return (paint,) if self.discriminator is None else (Update(self.discriminate, (self.discriminator,)), paint)

    def losses(self, batch: Batches, draw: Draw) -> Losses:
        """Mean squared error of what was missing; with a discriminator, the painted image should look real too."""
        images, missing = self.view(batch, draw)  # [B, C, H, W] and [B, 1, H, W]
        painted = self.paint(images, missing)
        errors = (missing * (images - painted).square()).mean(dim=(1, 2, 3)) / missing.mean(dim=(1, 2, 3))  # [B]
        loss = errors.mean()
        if self.discriminator is None:
            return Losses(loss)
        adversarial = look_real(self.discriminator(torch.where(missing > 0, painted, images)))
        return Losses(loss + self.config.adversarial * adversarial, {"error": loss, "adversarial": adversarial})

    def discriminate(self, batch: Batches, draw: Draw) -> Losses:
        """Whole images should score high, painted ones low."""
        images, missing = self.view(batch, draw)
        with torch.no_grad():
            made = torch.where(missing > 0, self.paint(images, missing), images)
        assert self.discriminator is not None
        real, fake = self.discriminator(images), self.discriminator(made)
        loss = tell_apart(real, fake)
        return Losses(loss, {"discriminator": loss, "told_apart": told_apart(real, fake)})

    def view(self, batch: Batches, draw: Draw) -> tuple[Tensor, Tensor]:
        """This step's images, and what is missing of them."""
        images = self.augment(batch["unlabelled"].images, draw.stream("augment"))
        return images, holes(images, self.config.missing, draw.stream("missing"))

    def paint(self, images: Tensor, missing: Tensor) -> Tensor:
        """Whole images made from what is not missing: [B, C, H, W]."""
        painted: Tensor = self.decoder(self.encoder(self.without(images, missing)), (images.shape[2], images.shape[3]))
        return painted

    def without(self, images: Tensor, missing: Tensor) -> Tensor:
        """Images with the mean colour, which the encoder takes for 0, where something is missing."""
        return torch.where(missing > 0, self.encoder.mean, images)

    @torch.no_grad()
    def pictures(self, images: Tensor) -> Tensor:
        """Images [B, C, H, W], these with holes, and painted: [B, 3, C, H, W]."""
        missing = holes(images, self.config.missing, Draw(0, "pictures", device=images.device))
        painted = torch.where(missing > 0, self.paint(images, missing).clamp(0, 1), images)
        return torch.stack([images, self.without(images, missing), painted], dim=1)


def holes(images: Tensor, missing: Missing, draw: Draw) -> Tensor:
    """1 where something is missing from images [B, C, H, W], else 0: [B, 1, H, W]."""
    count, _, height, width = images.shape
    if missing == "region":
        level = F.interpolate(draw.normal(count, 1, 5, 5), (height, width), mode="bicubic")
        high = level.flatten(1).quantile(0.75, dim=1).view(-1, 1, 1, 1)
        return (level > high).to(images)
    if missing == "central":
        side, number = (height // 2, width // 2), 1
        corner = torch.tensor([height // 4, width // 4], device=draw.device).expand(count, number, 2)
    else:
        side, number = (height // 4, width // 4), 4
        free = torch.tensor([height - side[0] + 1, width - side[1] + 1], device=draw.device)
        corner = (draw.uniform(count, number, 2) * free).floor()
    rows, columns = (
        (places >= corner[..., axis, None]) & (places < corner[..., axis, None] + side[axis])  # [B, number, places]
        for axis, places in enumerate(torch.arange(length, device=draw.device) for length in (height, width))
    )
    return (rows[..., None] & columns[:, :, None]).any(dim=1, keepdim=True).to(images)
