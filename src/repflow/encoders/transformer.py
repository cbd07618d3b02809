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
    """torchvision's vision transformer at the tiny size: 12 layers of width 192 with 3 heads.

    Attributes:
        patch: side of a patch in pixels, which divides the image's.
        layers: number of transformer blocks.
        features: "class" for the class token, "mean" for the mean of the patch tokens; either after the last layer
            normalisation.
        positions: "learned" position embeddings, or fixed ones, "sine_cosine".
        initial: the random weights: "torchvision" for that library's, "xavier" for those of `xavier`.
    """

    name: Literal["vit_tiny"] = "vit_tiny"
    patch: Count = 4
    layers: Count = 12
    features: Literal["class", "mean"] = "class"
    positions: Literal["learned", "sine_cosine"] = "learned"
    initial: Literal["torchvision", "xavier"] = "torchvision"


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
    if config.initial == "xavier":
        xavier(transformer)
        nn.init.normal_(transformer.class_token, std=0.02)
    if config.positions == "sine_cosine":
        del transformer.encoder.pos_embedding  # a parameter; a buffer is saved with the weights but never trained
        transformer.encoder.register_buffer("pos_embedding", sine_cosine_positions(size // config.patch, width))
    return Tokens(transformer, config.features), width


def xavier(module: nn.Module) -> None:
    """Draw the weights of linear maps as Glorot & Bengio do (AISTATS 2010), uniformly; their biases are 0.

    Query, key and value of an attention are one map, and so is the convolution of patches, as in the masked autoencoder
    (He et al., CVPR 2022).
    """
    for each in module.modules():
        if isinstance(each, nn.Linear | nn.Conv2d):
            nn.init.xavier_uniform_(each.weight.detach().flatten(1))
            if each.bias is not None:
                nn.init.zeros_(each.bias)
        elif isinstance(each, nn.MultiheadAttention):
            nn.init.xavier_uniform_(each.in_proj_weight)
            nn.init.zeros_(each.in_proj_bias)


def sine_cosine_positions(side: int, width: int) -> Tensor:
    """Fixed position embeddings of side x side patches, row by row, after the class token's: [1, 1 + side^2, width].

    The first half of the dimensions is of the column, the second of the row: sines and cosines of wavelengths from 2 pi
    to nearly 20,000 pi patches (Vaswani et al., NeurIPS 2017; Chen, Xie, He, ICCV 2021). The class token's are 0.

    Args:
        side: patches along each side of the image.
        width: a multiple of 4.
    """
    rates = torch.tensor([10_000 ** (-4 * index / width) for index in range(width // 4)], dtype=torch.float64)
    angles = torch.arange(side, dtype=torch.float64)[:, None] * rates
    waves = torch.cat([angles.sin(), angles.cos()], dim=1).expand(side, side, -1)  # of the second axis
    patches = torch.cat([waves, waves.transpose(0, 1)], dim=2).flatten(0, 1)
    return torch.cat([torch.zeros_like(patches[:1]), patches])[None].float()


class Tokens(nn.Module):
    """A vision transformer whose patch embedding and attention layers can be applied separately, as to visible patches.

    Args:
        transformer: torchvision's, without a head.
        features: "class" for the class token, "mean" for the mean of the patch tokens.
    """

    def __init__(self, transformer: Any, features: Literal["class", "mean"] = "class"):
        super().__init__()
        self.transformer = transformer
        self.features = features

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
        """Normalised images to features [B, width], of the class token or of the mean patch token."""
        tokens = self.attend(self.embed(normal))
        return tokens[:, 0] if self.features == "class" else tokens[:, 1:].mean(dim=1)
