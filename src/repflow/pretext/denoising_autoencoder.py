"""Denoising autoencoder: give back the clean image from a corrupted one.

Vincent, Larochelle, Bengio, Manzagol. Extracting and Composing Robust Features with Denoising Autoencoders. ICML 2008.
"""

from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from repflow.augment import Policy, PolicyConfig
from repflow.data.batches import Batches
from repflow.draw import Draw
from repflow.encoders import Encoder
from repflow.method import EncoderMethod, Losses
from repflow.parts.decoder import Decoder
from repflow.schema import Count, Fraction, parameters


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

    def __init__(self, config: Config, encoder: Encoder):
        super().__init__(encoder)
        self.config = config
        self.augment = Policy(config.augment)
        self.decoder = Decoder(encoder.width, config.decoder, channels=len(encoder.mean))

    def losses(self, batch: Batches, draw: Draw) -> Losses:
        """Mean squared error between the clean image and what is made of the corrupted one."""
        images = self.augment(batch["unlabelled"].images, draw.stream("augment"))  # [B, C, H, W]
        corrupted = corrupt(images, self.config.noise, self.config.strength, draw.stream("noise"))
        restored = self.decoder(self.encoder(corrupted), images.shape[2:])
        return Losses(F.mse_loss(restored, images))
