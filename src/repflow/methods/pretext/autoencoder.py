"""Autoencoder: reconstruct an image from a low-dimensional latent code.

Hinton, Salakhutdinov. Reducing the Dimensionality of Data with Neural Networks. Science 2006.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from repflow.augment.policy import Policy, PolicyConfig
from repflow.data.read.batches import Batches
from repflow.encoders import Encoder
from repflow.methods.parts.decoder import Decoder
from repflow.randomness.draws import Draw
from repflow.schema import Count, parameters
from repflow.training.contract import EncoderMethod, Losses


@parameters
class Config:
    """The autoencoder's parameters.

    Attributes:
        augment: augmentation policy.
        codes: dimension of the latent code; the paper takes 30 for handwritten digits.
        decoder: channels of the decoder's stages, each of which doubles height and width.
    """

    augment: PolicyConfig = ()
    codes: Count = 30
    decoder: tuple[Count, ...] = (64, 32, 16)


class Autoencoder(EncoderMethod):
    """The encoder with a linear layer to the latent code, and a convolutional decoder."""

    streams = ("unlabelled",)
    columns = ("image", "reconstruction")

    def __init__(self, config: Config, encoder: Encoder):
        super().__init__(encoder)
        self.augment = Policy(config.augment)
        self.code = nn.Linear(encoder.width, config.codes)
        self.decoder = Decoder(config.codes, config.decoder, channels=len(encoder.mean))

    def losses(self, batch: Batches, draw: Draw) -> Losses:
        """Mean squared error of the reconstruction."""
        images = self.augment(batch["unlabelled"].images, draw.stream("augment"))  # [B, C, H, W]
        return Losses(F.mse_loss(self.reconstruct(images), images))

    def reconstruct(self, images: Tensor) -> Tensor:
        """Reconstructions of images [B, C, H, W]."""
        codes = self.code(self.encoder(images))  # [B, codes]
        restored: Tensor = self.decoder(codes, images.shape[2:])
        return restored

    @torch.no_grad()
    def figures(self, images: Tensor) -> Tensor:
        """Images [B, C, H, W] and reconstructions: [B, 2, C, H, W]."""
        return torch.stack([images, self.reconstruct(images).clamp(0, 1)], dim=1)
