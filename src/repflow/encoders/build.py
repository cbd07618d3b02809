"""Builds an encoder from its configuration."""

from typing import Annotated, Literal

from pydantic import Field

from repflow.encoders.classical import HOGConfig, PixelsConfig, hog, pixels
from repflow.encoders.concatenated import ConcatenatedEncoder
from repflow.encoders.convolutional import LeNetConfig, SmallConfig, lenet, small
from repflow.encoders.encoder import Encoder
from repflow.encoders.residual import ResNetConfig, resnet
from repflow.encoders.split import SplitConfig, SplitEncoder
from repflow.encoders.transformer import ViTConfig, vit
from repflow.schema import parameters

OneEncoder = SmallConfig | LeNetConfig | ResNetConfig | ViTConfig | SplitConfig | PixelsConfig | HOGConfig


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

    Args:
        config: the encoder's parameters.
        channels: of the images, 1 or 3.
        size: height and width of the images in pixels.
    """
    match config:
        case SmallConfig():
            body, width = small(config, channels)
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
        case SplitConfig():
            return SplitEncoder(config, channels, size)
        case ConcatenatedConfig():
            return ConcatenatedEncoder([build_encoder(part, channels, size) for part in config.parts], channels)
    return Encoder(body, width, channels)
