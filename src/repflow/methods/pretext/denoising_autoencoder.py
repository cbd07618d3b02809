"""Denoising autoencoder: reconstruct the clean image from a corrupted one.

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
        augment: augmentation policy of the clean image.
        noise: "gaussian" adds to every value; "masking" sets pixels to black, "salt_and_pepper" to black or white.
        strength: standard deviation of the Gaussian noise, or fraction of corrupted pixels.
        decoder: channels of the decoder's stages, each of which doubles height and width.
    """

    augment: PolicyConfig = ()
    noise: Literal["gaussian", "masking", "salt_and_pepper"] = "masking"
    strength: Fraction = 0.5
    decoder: tuple[Count, ...] = (64, 32, 16)


def corrupt(images: Tensor, noise: str, strength: float, draw: Draw) -> Tensor:
    """Corrupt images [B, C, H, W]; a pixel is masked in all channels."""
    if noise == "gaussian":
        return images + strength * draw.normal(*images.shape)
    chance = draw.uniform(len(images), 1, *images.shape[2:])
    lost = (chance < strength).to(images.dtype)
    white = (chance < strength / 2).to(images.dtype) if noise == "salt_and_pepper" else 0.0
    return images * (1 - lost) + white


class DenoisingAutoencoder(EncoderMethod):
    """The encoder with a small convolutional decoder."""

    streams = ("unlabelled",)
    columns = ("image", "corrupted", "reconstructed")

    def __init__(self, config: Config, encoder: Encoder):
        super().__init__(encoder)
        self.config = config
        self.augment = Policy(config.augment)
        self.decoder = Decoder(encoder.width, config.decoder, channels=len(encoder.mean))

    def losses(self, batch: Batches, draw: Draw) -> Losses:
        """Mean squared error between the clean image and the reconstruction."""
        images = self.augment(batch["unlabelled"].images, draw.stream("augment"))  # [B, C, H, W]
        corrupted = corrupt(images, self.config.noise, self.config.strength, draw.stream("noise"))
        return Losses(F.mse_loss(self.reconstruct(corrupted), images))

    def reconstruct(self, corrupted: Tensor) -> Tensor:
        """Reconstructions of corrupted images [B, C, H, W]."""
        restored: Tensor = self.decoder(self.encoder(corrupted), corrupted.shape[2:])
        return restored

    @torch.no_grad()
    def figures(self, images: Tensor) -> Tensor:
        """Images [B, C, H, W], corrupted images and reconstructions: [B, 3, C, H, W]."""
        draw = Draw(0, "pictures", device=images.device)
        corrupted = corrupt(images, self.config.noise, self.config.strength, draw)
        return torch.stack([images, corrupted, self.reconstruct(corrupted)], dim=1).clamp(0, 1)
