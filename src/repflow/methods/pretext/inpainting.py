"""Inpainting by a context encoder: reconstruct missing regions of an image from their surroundings.

Pathak, Krähenbühl, Donahue, Darrell, Efros. Context Encoders: Feature Learning by Inpainting. CVPR 2016.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from repflow.augment.per_sample import pair
from repflow.augment.policy import Policy, PolicyConfig
from repflow.data.read.batches import Batches
from repflow.encoders import Encoder
from repflow.methods.parts.adversarial_losses import discriminator_accuracy, discriminator_loss, generator_loss
from repflow.methods.parts.decoder import Decoder
from repflow.methods.parts.discriminator import PatchDiscriminator
from repflow.methods.parts.upsampler import Upsampler
from repflow.randomness.draws import Draw
from repflow.schema import Count, NonNegative, parameters
from repflow.training.contract import EncoderMethod, Losses, Update

Missing = Literal["central", "blocks", "region"]


@parameters
class Config:
    """The context encoder's parameters.

    Attributes:
        augment: augmentation policy.
        missing: "central", a square of half the side; "blocks", four squares of a quarter of the side that may overlap;
            "region", a quarter of the image in random shapes.
        adversarial: weight of the adversarial loss; with 0 there is no discriminator.
        bottleneck: what the decoder gets: "maps", the encoder's feature maps, or "pooled", its features. Between
            encoder and decoder the paper carries information over the whole image by a layer of connections within
            each channel; the last maps of the encoder `small` see 41 pixels each way, so that 32 need no such layer.
        decoder: channels of the decoder's stages, each of which doubles height and width.
        discriminator: channels of the discriminator's stages, each of which halves height and width.
    """

    augment: PolicyConfig = ()
    missing: Missing = "region"
    adversarial: NonNegative = 0.0
    bottleneck: Literal["maps", "pooled"] = "maps"
    decoder: tuple[Count, ...] = (64, 32, 16)
    discriminator: tuple[Count, ...] = (32, 64)


class ContextEncoder(EncoderMethod):
    """The encoder with a decoder, and optionally a discriminator of inpainted images."""

    streams = ("unlabelled",)
    columns = ("image", "masked", "inpainted")

    def __init__(self, config: Config, encoder: Encoder):
        super().__init__(encoder)
        self.config = config
        self.augment = Policy(config.augment)
        channels = len(encoder.mean)
        kind = Upsampler if config.bottleneck == "maps" else Decoder
        self.decoder = kind(encoder.width, config.decoder, channels)
        self.discriminator = PatchDiscriminator(channels, config.discriminator) if config.adversarial else None

    @property
    def updates(self) -> tuple[Update, ...]:
        """First the discriminator, if there is one, then encoder and decoder."""
        paint = Update(self.losses, (self.encoder, self.decoder))
        return (paint,) if self.discriminator is None else (Update(self.discriminate, (self.discriminator,)), paint)

    def losses(self, batch: Batches, draw: Draw) -> Losses:
        """Mean squared error within the missing regions, plus the weighted adversarial loss."""
        images, missing = self.view(batch, draw)  # [B, C, H, W] and [B, 1, H, W]
        painted = self.paint(images, missing)
        errors = (missing * (images - painted).square()).mean(dim=(1, 2, 3)) / missing.mean(dim=(1, 2, 3))  # [B]
        loss = errors.mean()
        if self.discriminator is None:
            return Losses(loss)
        adversarial = generator_loss(self.discriminator(torch.where(missing > 0, painted, images)))
        return Losses(loss + self.config.adversarial * adversarial, {"error": loss, "adversarial": adversarial})

    def discriminate(self, batch: Batches, draw: Draw) -> Losses:
        """The discriminator's loss on real and inpainted images."""
        images, missing = self.view(batch, draw)
        with torch.no_grad():
            generated = torch.where(missing > 0, self.paint(images, missing), images)
        assert self.discriminator is not None
        real, fake = self.discriminator(images), self.discriminator(generated)
        loss = discriminator_loss(real, fake)
        return Losses(loss, {"discriminator": loss, "discriminator_accuracy": discriminator_accuracy(real, fake)})

    def view(self, batch: Batches, draw: Draw) -> tuple[Tensor, Tensor]:
        """This step's images, and masks of their missing regions."""
        images = self.augment(batch["unlabelled"].images, draw.stream("augment"))
        return images, holes(images, self.config.missing, draw.stream("missing"))

    def paint(self, images: Tensor, missing: Tensor) -> Tensor:
        """Decoder outputs for masked images: [B, C, H, W]."""
        masked = self.mask(images, missing)
        found = self.encoder.maps(masked) if self.config.bottleneck == "maps" else self.encoder(masked)
        painted: Tensor = self.decoder(found, (images.shape[2], images.shape[3]))
        return painted

    def mask(self, images: Tensor, missing: Tensor) -> Tensor:
        """Images with missing regions filled with the mean colour, which the encoder normalises to 0."""
        return torch.where(missing > 0, self.encoder.mean, images)

    @torch.no_grad()
    def figures(self, images: Tensor) -> Tensor:
        """Images [B, C, H, W], masked and inpainted images: [B, 3, C, H, W]."""
        missing = holes(images, self.config.missing, Draw(0, "pictures", device=images.device))
        painted = torch.where(missing > 0, self.paint(images, missing).clamp(0, 1), images)
        return torch.stack([images, self.mask(images, missing), painted], dim=1)


def holes(images: Tensor, missing: Missing, draw: Draw) -> Tensor:
    """Random masks of missing regions of images [B, C, H, W], 1 where missing: [B, 1, H, W]."""
    count, _, height, width = images.shape
    if missing == "region":
        level = F.interpolate(draw.normal(count, 1, 5, 5), (height, width), mode="bicubic")
        high = level.flatten(1).quantile(0.75, dim=1).view(-1, 1, 1, 1)
        return (level > high).to(images)
    if missing == "central":
        side, number = (height // 2, width // 2), 1
        corner = pair(height // 4, width // 4, draw.device).expand(count, number, 2)
    else:
        side, number = (height // 4, width // 4), 4
        free = pair(height - side[0] + 1, width - side[1] + 1, draw.device)
        corner = (draw.uniform(count, number, 2) * free).floor()
    rows, columns = (
        (places >= corner[..., axis, None]) & (places < corner[..., axis, None] + side[axis])  # [B, number, places]
        for axis, places in enumerate(torch.arange(length, device=draw.device) for length in (height, width))
    )
    return (rows[..., None] & columns[:, :, None]).any(dim=1, keepdim=True).to(images)
