"""Denoising autoencoder: give back the clean image from a corrupted one.

Vincent, Larochelle, Bengio, Manzagol. Extracting and Composing Robust Features with Denoising Autoencoders. ICML 2008.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from repflow.augment.policy import Policy, PolicyConfig
from repflow.data.read.batches import Batches
from repflow.encoders import Encoder
from repflow.methods.parts.decoder import Decoder
from repflow.randomness.draws import Draw
from repflow.schema import Count, Fraction, parameters
from repflow.training.contract import EncoderMethod, Losses


@parameters
class Config:
    """The denoising autoencoder's parameters.

    Attributes:
        augment: the policy that makes the clean image.
        noise: "gaussian" adds to every value; "masking" makes pixels black, "salt_and_pepper" black or white.
        strength: standard deviation of the Gaussian noise, or the share of pixels that is lost.
        decoder: channels of the decoder's stages, each of twice the height and width of the one before.
    """

    augment: PolicyConfig = ()
    noise: Literal["gaussian", "masking", "salt_and_pepper"] = "masking"
    strength: Fraction = 0.5
    decoder: tuple[Count, ...] = (64, 32, 16)


def corrupt(images: Tensor, noise: str, strength: float, draw: Draw) -> Tensor:
    """Corrupt each image [B, C, H, W] on its own; a pixel is lost in all its channels, or it could be read off them."""
    if noise == "gaussian":
        return images + strength * draw.normal(*images.shape)
    chance = draw.uniform(len(images), 1, *images.shape[2:])
    lost = (chance < strength).to(images.dtype)
    white = (chance < strength / 2).to(images.dtype) if noise == "salt_and_pepper" else 0.0
    return images * (1 - lost) + white


class DenoisingAutoencoder(EncoderMethod):
    """The encoder below a small convolutional decoder."""

    streams = ("unlabelled",)
    columns = ("image", "corrupted", "restored")

    def __init__(self, config: Config, encoder: Encoder):
        super().__init__(encoder)
        self.config = config
        self.augment = Policy(config.augment)
        self.decoder = Decoder(encoder.width, config.decoder, channels=len(encoder.mean))

    def losses(self, batch: Batches, draw: Draw) -> Losses:
        """Mean squared error between the clean image and what is made of the corrupted one."""
        images = self.augment(batch["unlabelled"].images, draw.stream("augment"))  # [B, C, H, W]
        corrupted = corrupt(images, self.config.noise, self.config.strength, draw.stream("noise"))
        return Losses(F.mse_loss(self.restore(corrupted), images))

    def restore(self, corrupted: Tensor) -> Tensor:
        """What is made of corrupted images: [B, C, H, W]."""
        restored: Tensor = self.decoder(self.encoder(corrupted), corrupted.shape[2:])
        return restored

    @torch.no_grad()
    def pictures(self, images: Tensor) -> Tensor:
        """Images [B, C, H, W], these corrupted, and restored: [B, 3, C, H, W]."""
        draw = Draw(0, "pictures", device=images.device)
        corrupted = corrupt(images, self.config.noise, self.config.strength, draw)
        return torch.stack([images, corrupted, self.restore(corrupted)], dim=1).clamp(0, 1)
