"""A small vision transformer.

Dosovitskiy et al. An Image is Worth 16x16 Words. ICLR 2021; the tiny size of Touvron et al., ICML 2021.
"""

import math
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from repflow.errors import ParameterError
from repflow.schema import Count, parameters


@parameters
class ViTConfig:
    """torchvision's vision transformer at the tiny size: 12 layers of width 192 with 3 heads; features: class token."""

    name: Literal["vit_tiny"] = "vit_tiny"
    patch: Count = 4
    layers: Count = 12


def vit(config: ViTConfig, channels: int, size: int) -> tuple[nn.Module, int]:
    """The body for images of `size` pixels, and the dimension of its features."""
    from torchvision.models import VisionTransformer

    if size % config.patch:
        allowed = [patch for patch in range(1, size + 1) if size % patch == 0]
        raise ParameterError(f"encoder.patch: {config.patch} does not divide data.size {size}; allowed: {allowed}")
    width = 192
    transformer = VisionTransformer(size, config.patch, config.layers, 3, width, 4 * width)
    transformer.heads = nn.Sequential()
    transformer.conv_proj = nn.Conv2d(channels, width, config.patch, config.patch)
    nn.init.trunc_normal_(transformer.conv_proj.weight, std=(channels * config.patch**2) ** -0.5)
    nn.init.zeros_(transformer.conv_proj.bias)
    return Tokens(transformer), width


class Tokens(nn.Module):
    """A vision transformer whose patch embedding and attention layers can be applied separately, as to visible patches.

    Args:
        transformer: torchvision's, without a head.
    """

    def __init__(self, transformer: Any):
        super().__init__()
        self.transformer = transformer

    @property
    def patch(self) -> int:
        """Side of a patch in pixels."""
        side: int = self.transformer.patch_size
        return side

    @property
    def patches(self) -> int:
        """Number of patches of an image."""
        count: int = self.transformer.seq_length - 1
        return count

    def embed(self, normal: Tensor) -> Tensor:
        """Normalised images [B, channels, H, W] to patch tokens with position embeddings: [B, N, width].

        For images of another size, position embeddings are interpolated (Caron et al., ICCV 2021).
        """
        tokens: Tensor = self.transformer.conv_proj(normal)  # [B, width, rows, columns]
        positions: Tensor = self.transformer.encoder.pos_embedding[:, 1:]
        if tokens.shape[2] * tokens.shape[3] != self.patches:
            side = math.isqrt(self.patches)
            grid = positions.transpose(1, 2).unflatten(2, (side, side))
            resized = F.interpolate(grid, tokens.shape[2:], mode="bicubic", align_corners=False)
            positions = resized.flatten(2).transpose(1, 2)
        return tokens.flatten(2).transpose(1, 2) + positions

    def attend(self, tokens: Tensor) -> Tensor:
        """Tokens [B, M, width] of any subset of patches to features, the class token first: [B, 1 + M, width]."""
        encoder = self.transformer.encoder
        first = self.transformer.class_token + encoder.pos_embedding[:, :1]
        whole = torch.cat([first.expand(len(tokens), -1, -1), tokens], dim=1)
        features: Tensor = encoder.ln(encoder.layers(encoder.dropout(whole)))
        return features

    def forward(self, normal: Tensor) -> Tensor:
        """Normalised images to the features of the class token: [B, width]."""
        return self.attend(self.embed(normal))[:, 0]
