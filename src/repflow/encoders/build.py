"""Builds an encoder from its configuration."""

from typing import Annotated, Literal

import torch
from pydantic import Field

from repflow.encoders.classical import ColourHistogramConfig, HOGConfig, PixelsConfig, colour_histogram, hog, pixels
from repflow.encoders.concatenated import ConcatenatedEncoder
from repflow.encoders.convolutional import LeNetConfig, SmallConfig, lenet, small
from repflow.encoders.encoder import Encoder
from repflow.encoders.lightness import LightnessConfig, LightnessEncoder
from repflow.encoders.multi_layer import MultiLayerConfig, MultiLayerEncoder
from repflow.encoders.pretrained import TimmConfig, TorchvisionConfig, pretrained_encoder
from repflow.encoders.residual import ResNetConfig, resnet
from repflow.encoders.small_residual import SmallResNetConfig, small_resnet
from repflow.encoders.sobel import SobelConfig, SobelEncoder
from repflow.encoders.split import SplitConfig, SplitEncoder
from repflow.encoders.tiled import TiledConfig, TiledEncoder
from repflow.encoders.transformer import ViTConfig, vit
from repflow.schema import parameters

OneEncoder = (
    SmallConfig
    | SmallResNetConfig
    | LeNetConfig
    | ResNetConfig
    | ViTConfig
    | SplitConfig
    | LightnessConfig
    | SobelConfig
    | TiledConfig
    | MultiLayerConfig
    | PixelsConfig
    | HOGConfig
    | ColourHistogramConfig
    | TimmConfig
    | TorchvisionConfig
)


@parameters
class ConcatenatedConfig:
    """The features of several encoders, concatenated."""

    parts: tuple[Annotated[OneEncoder, Field(discriminator="name")], ...]
    name: Literal["concatenated"] = "concatenated"


AnyEncoder = OneEncoder | ConcatenatedConfig

EncoderConfig = Annotated[AnyEncoder, Field(discriminator="name")]
"""The parameters of any encoder, distinguished by `name`."""


def build_encoder(config: AnyEncoder, channels: int, size: int) -> Encoder:
    """A new encoder with random weights, drawn from PyTorch's global generator.

    Nothing is read or downloaded: the weights that others trained are loaded by `pretrained.fill`.

    Args:
        config: the encoder's parameters.
        channels: of the images, 1 or 3.
        size: height and width of the images in pixels.
    """
    match config:
        case SmallConfig():
            body, width = small(config, channels)
        case SmallResNetConfig():
            body, width = small_resnet(config, channels, size)
        case LeNetConfig():
            body, width = lenet(config, channels, size)
        case ResNetConfig():
            body, width = resnet(config, channels)
        case ViTConfig():
            body, width = vit(config, channels, size)
        case PixelsConfig():
            body, width = pixels(config, channels, size)
        case HOGConfig():
            body, width = hog(config, size)
        case ColourHistogramConfig():
            body, width = colour_histogram(config, channels)
        case SplitConfig():
            return SplitEncoder(config, channels, size)
        case LightnessConfig():
            return LightnessEncoder(build_encoder(config.inner, 1, size), channels)
        case SobelConfig():
            return SobelEncoder(build_encoder(config.inner, 2, size), channels)
        case TiledConfig():
            return TiledEncoder(config, build_encoder(config.inner, channels, config.tile_size(size)), channels)
        case MultiLayerConfig():
            return MultiLayerEncoder(build_encoder(config.inner, channels, size), config.grid, channels, size)
        case TimmConfig() | TorchvisionConfig():
            return pretrained_encoder(config)
        case ConcatenatedConfig():
            return ConcatenatedEncoder([build_encoder(part, channels, size) for part in config.parts], channels)
    return Encoder(body, width, channels)


def forward_flops(config: AnyEncoder, channels: int, size: int) -> int:
    """Floating-point operations of a forward pass for one image, two to a multiply-add; nothing is computed.

    Args:
        config: the encoder's parameters.
        channels: of the images, 1 or 3.
        size: height and width of the images in pixels.
    """
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        build_encoder(config, channels, size).eval()(torch.empty(1, channels, size, size))
    total: int = counter.get_total_flops()
    return total
