"""An encoder that sees the lightness of an image alone, as after learning to predict its colours.

Zhang, Isola, Efros. Colorful Image Colorization. ECCV 2016.
"""

from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor

from repflow.augment.color_spaces import rgb_to_lab, without_colour
from repflow.encoders.encoder import Encoder
from repflow.encoders.inner import InnerEncoder, OuterEncoder
from repflow.schema import parameters


@parameters
class LightnessConfig:
    """An encoder of lightness.

    Attributes:
        inner: the encoder of images with one channel.
    """

    inner: Annotated[InnerEncoder, Field(discriminator="name")]
    name: Literal["lightness"] = "lightness"


class LightnessEncoder(OuterEncoder):
    """Features and maps of the lightness of images.

    Args:
        inner: encoder of images with one channel.
        channels: of the images; those with one channel are their own lightness.
    """

    def __init__(self, inner: Encoder, channels: int):
        super().__init__(inner, inner.width, channels)

    def inner_statistics(self, mean: Tensor, std: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and deviation of the lightness, [1] each: taken to be the means of those of the channels."""
        return mean.mean(0, keepdim=True), std.mean(0, keepdim=True)

    def maps(self, images: Tensor) -> Tensor:
        """Feature maps [B, width, h, w], before pooling, of images [B, channels, size, size] in [0, 1]."""
        return self.inner.maps(lightness(images))

    def forward(self, images: Tensor) -> Tensor:
        """Features [B, width] of images [B, channels, size, size] in [0, 1]."""
        features: Tensor = self.inner(lightness(images))
        return features


def lightness(images: Tensor) -> Tensor:
    """Lightness (CIE L* / 100) of images [B, C, H, W] in [0, 1]: [B, 1, H, W]; of one channel, that channel."""
    return images if images.shape[1] == 1 else rgb_to_lab(images)[:, :1] / 100


def without_colour_for(encoder: Encoder, images: Tensor) -> Tensor:
    """Images [B, 3, H, W] in [0, 1] for an encoder that is to see no colour.

    An encoder of lightness takes them as they are and drops the colour itself; any other gets three equal channels.
    """
    return images if isinstance(encoder, LightnessEncoder) else without_colour(images)
