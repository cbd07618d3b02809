"""An encoder that sees the gradients of an image alone, without its colours.

Bojanowski, Joulin. Unsupervised Learning by Predicting Noise. ICML 2017. Caron, Bojanowski, Joulin, Douze. Deep
Clustering for Unsupervised Learning of Visual Features. ECCV 2018.
"""

from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from repflow.encoders.encoder import Encoder
from repflow.encoders.inner import InnerEncoder, OuterEncoder
from repflow.schema import parameters


@parameters
class SobelConfig:
    """An encoder of gradients.

    Attributes:
        inner: the encoder of images with two channels.
    """

    inner: Annotated[InnerEncoder, Field(discriminator="name")]
    name: Literal["sobel"] = "sobel"


class SobelEncoder(OuterEncoder):
    """Features and maps of the horizontal and vertical gradients of grey images, by fixed Sobel filters.

    The colours are normalised first; grey is the mean of the channels. Beyond its border an image is the mean colour.

    Args:
        inner: encoder of images with two channels; its own input normalisation becomes the identity.
        channels: of the images.
    """

    filters: Tensor

    def __init__(self, inner: Encoder, channels: int):
        super().__init__(inner, inner.width, channels)
        inner.set_normalisation(torch.zeros(2), torch.ones(2))
        horizontal = torch.tensor([[1.0, 0, -1], [2, 0, -2], [1, 0, -1]])
        self.register_buffer("filters", torch.stack([horizontal, horizontal.T])[:, None], persistent=False)

    def inner_statistics(self, mean: Tensor, std: Tensor) -> tuple[Tensor, Tensor]:
        """0 and 1, [2] each: the colours are normalised before their gradients are taken."""
        return torch.zeros(2), torch.ones(2)

    def gradients(self, images: Tensor) -> Tensor:
        """Gradients [B, 2, size, size], to the left and upwards, of images [B, channels, size, size] in [0, 1]."""
        return F.conv2d(self.normalise(images).mean(dim=1, keepdim=True), self.filters, padding=1)

    def maps(self, images: Tensor) -> Tensor:
        """Feature maps [B, width, h, w], before pooling, of images [B, channels, size, size] in [0, 1]."""
        return self.inner.maps(self.gradients(images))

    def forward(self, images: Tensor) -> Tensor:
        """Features [B, width] of images [B, channels, size, size] in [0, 1]."""
        features: Tensor = self.inner(self.gradients(images))
        return features
