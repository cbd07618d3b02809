"""Denoising autoencoder: reconstruct the clean image from a corrupted one.

Vincent, Larochelle, Bengio, Manzagol. Extracting and Composing Robust Features with Denoising Autoencoders. ICML 2008.
Gaussian noise, salt and pepper, and the squared error for real-valued images: Vincent, Larochelle, Lajoie, Bengio,
Manzagol. Stacked Denoising Autoencoders. JMLR 2010.
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

Corruption = Literal["gaussian", "masking", "mean", "salt_and_pepper"]


@parameters
class Config:
    """The denoising autoencoder's parameters.

    Attributes:
        augment: augmentation policy of the clean image.
        corruption: "gaussian" adds noise to every value; "masking" sets pixels to black, "mean" to the mean of the
            training images, which the encoder sees as 0, and "salt_and_pepper" to black or white.
        strength: standard deviation of the Gaussian noise, of values in [0, 1], or fraction of corrupted pixels.
        decoder: channels of the decoder's stages, each of which doubles height and width.
    """

    augment: PolicyConfig = ()
    corruption: Corruption = "masking"
    strength: Fraction = 0.25
    decoder: tuple[Count, ...] = (64, 32, 16)


def corrupt(images: Tensor, mean: Tensor, config: Config, draw: Draw) -> Tensor:
    """Corrupt images.

    As many pixels of every image are corrupted as of any other, each in all of its channels.

    Args:
        images: [B, C, H, W], values in [0, 1].
        mean: of each channel of the training images: [C, 1, 1].
        config: the kind of corruption and its strength.
        draw: random numbers.

    Returns:
        [B, C, H, W]; with Gaussian noise also values outside of [0, 1].
    """
    if config.corruption == "gaussian":
        return images + config.strength * draw.normal(*images.shape)
    pixels = images[0, 0].numel()
    ranks = draw.uniform(len(images), pixels).argsort(dim=1).view(-1, 1, *images.shape[2:])
    count = round(config.strength * pixels)
    match config.corruption:
        case "masking":
            value = torch.zeros_like(mean)
        case "mean":
            value = mean
        case "salt_and_pepper":
            value = (2 * ranks < count).to(images.dtype)
    return torch.where(ranks < count, value, images)


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
        corrupted = self.corrupted(images, draw.stream("noise"))
        return Losses(F.mse_loss(self.reconstruct(corrupted), images))

    def corrupted(self, images: Tensor, draw: Draw) -> Tensor:
        """Corrupt images [B, C, H, W] as configured."""
        return corrupt(images, self.encoder.mean, self.config, draw)

    def reconstruct(self, corrupted: Tensor) -> Tensor:
        """Reconstructions of corrupted images [B, C, H, W]."""
        restored: Tensor = self.decoder(self.encoder(corrupted), corrupted.shape[2:])
        return restored

    @torch.no_grad()
    def figures(self, images: Tensor) -> Tensor:
        """Images [B, C, H, W], corrupted images and reconstructions: [B, 3, C, H, W]."""
        corrupted = self.corrupted(images, Draw(0, "pictures", device=images.device))
        return torch.stack([images, corrupted, self.reconstruct(corrupted)], dim=1).clamp(0, 1)
