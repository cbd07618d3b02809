"""Two half-encoders with concatenated features: one for the lightness of an image, one for its colour.

Zhang, Isola, Efros. Split-Brain Autoencoders: Unsupervised Learning by Cross-Channel Prediction. CVPR 2017.
"""

from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from repflow.augment.color_spaces import lab_to_rgb, rgb_to_lab
from repflow.encoders.convolutional import SmallConfig, small
from repflow.encoders.encoder import Encoder, Pooled
from repflow.encoders.residual import ResNetConfig, resnet
from repflow.errors import ParameterError
from repflow.schema import parameters

Half = Annotated[SmallConfig | ResNetConfig, Field(discriminator="name")]


@parameters
class SplitConfig:
    """Two encoders of the same architecture, whose features are concatenated.

    Attributes:
        half: the architecture of each half-encoder.
    """

    half: Half
    name: Literal["split"] = "split"


class SplitEncoder(Encoder):
    """Concatenated features of lightness and colour, [B, width / 2] each, of images [B, 3, size, size] in [0, 1]."""

    def __init__(self, config: SplitConfig, channels: int, size: int):
        if channels != 3:
            raise ParameterError("encoder.name: split takes images with colours; set data.channels to 3")
        lightness, width = _half(config.half, 1)
        colour, _ = _half(config.half, 2)
        super().__init__(nn.ModuleDict({"lightness": lightness, "colour": colour}), 2 * width, channels)

    def forward(self, images: Tensor) -> Tensor:
        """Features [B, width] of images [B, 3, size, size] in [0, 1]."""
        return F.adaptive_avg_pool2d(self.maps(images), 1).flatten(1)

    def maps(self, images: Tensor) -> Tensor:
        """Feature maps [B, width, h, w], before pooling, of images [B, 3, size, size] in [0, 1]."""
        return torch.cat(self.halves(split_lab(images)), dim=1)

    def halves(self, parts: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Feature maps of lightness and colour, [B, width / 2, h, w] each, for inputs from `split_lab`."""
        lightness, colour = (part.contiguous(memory_format=torch.channels_last) for part in parts)
        assert isinstance(self.body, nn.ModuleDict)
        of_lightness, of_colour = self.body["lightness"], self.body["colour"]
        assert isinstance(of_lightness, Pooled)
        assert isinstance(of_colour, Pooled)
        return of_lightness.maps(lightness), of_colour.maps(colour)


def split_lab(images: Tensor) -> tuple[Tensor, Tensor]:
    """Lightness [B, 1, H, W] and colour [B, 2, H, W] of images in [0, 1], both within about [-1, 1]."""
    lab = rgb_to_lab(images)
    return lab[:, :1] / 50 - 1, lab[:, 1:] / 110


def join_lab(lightness: Tensor, colour: Tensor) -> Tensor:
    """The inverse of `split_lab`: images [B, 3, H, W] in [0, 1]."""
    return lab_to_rgb(torch.cat([50 * (lightness + 1), 110 * colour], dim=1))


def _half(config: SmallConfig | ResNetConfig, channels: int) -> tuple[nn.Module, int]:
    match config:
        case SmallConfig():
            return small(config, channels)
        case ResNetConfig():
            return resnet(config, channels)
