"""A small vision transformer.

Dosovitskiy et al. An Image is Worth 16x16 Words. ICLR 2021; the tiny size of Touvron et al., ICML 2021.
"""

from typing import Literal

from torch import nn

from repflow.errors import ParameterError
from repflow.schema import Count, parameters


@parameters
class ViTConfig:
    """torchvision's vision transformer at the tiny size: 12 layers of width 192 with 3 heads; features: class token."""

    name: Literal["vit_tiny"] = "vit_tiny"
    patch: Count = 4
    layers: Count = 12


def vit(config: ViTConfig, channels: int, size: int) -> tuple[nn.Module, int]:
    """The body, and the width of its features, for images of `size` pixels."""
    from torchvision.models import VisionTransformer

    if size % config.patch:
        allowed = [patch for patch in range(1, size + 1) if size % patch == 0]
        raise ParameterError(f"encoder.patch: {config.patch} does not divide data.size {size}; allowed: {allowed}")
    width = 192
    body = VisionTransformer(size, config.patch, config.layers, 3, width, 4 * width)
    body.heads = nn.Sequential()
    body.conv_proj = nn.Conv2d(channels, width, config.patch, config.patch)
    nn.init.trunc_normal_(body.conv_proj.weight, std=(channels * config.patch**2) ** -0.5)
    nn.init.zeros_(body.conv_proj.bias)
    return body, width
