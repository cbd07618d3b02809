"""An encoder that sees an image as tiles, as after learning from single tiles; its features are their mean.

So van den Oord, Li, Vinyals (Representation Learning with Contrastive Predictive Coding, arXiv 2018) read the encoder
of patches. Noroozi and Favaro (ECCV 2016) read that of a jigsaw's tiles by convolution over a whole image: one tile, in
which everything has the size that it had in the tiles.
"""

from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from repflow.encoders.encoder import Encoder
from repflow.encoders.inner import InnerEncoder, OuterEncoder
from repflow.encoders.lightness import LightnessConfig
from repflow.hardware.portable_math import square_root
from repflow.schema import Count, Fraction, parameters

_FAINT = 0.01
"""Added to the standard deviation of a tile before dividing by it."""


@parameters
class TiledConfig:
    """An encoder of tiles.

    Attributes:
        inner: the encoder of a tile, which may be one of lightness.
        grid: tiles along each side of an image, evenly spaced from border to border.
        window: side of a tile as a fraction of the image's; tiles overlap where it exceeds 1 / `grid`.
        side: pixels to which the tiles of an image are resized; None for as many as they have.
        standardise: give every channel of a tile the mean 0 and the deviation 1.
    """

    inner: Annotated[InnerEncoder | LightnessConfig, Field(discriminator="name")]
    grid: Count = 3
    window: Fraction = 0.33
    side: Count | None = None
    standardise: bool = False
    name: Literal["tiled"] = "tiled"

    def tile_size(self, size: int) -> int:
        """Pixels a side that the inner encoder sees of an image of `size` pixels."""
        return self.side or _pixels(self.window, size)


class TiledEncoder(OuterEncoder):
    """The features of tiles, averaged over an image; the feature maps have one position for each tile.

    Args:
        config: where the tiles are.
        inner: encoder of a tile as `prepared` gives it.
        channels: of the images.
    """

    def __init__(self, config: TiledConfig, inner: Encoder, channels: int):
        super().__init__(inner, inner.width, channels)
        self.config = config

    def prepared(self, tiles: Tensor) -> Tensor:
        """Tiles [B, channels, h, h] in [0, 1] as the inner encoder takes them: standardised if set."""
        if not self.config.standardise:
            return tiles
        return standardised(tiles) * self.inner.std + self.inner.mean  # which the inner encoder takes back

    def see(self, tiles: Tensor) -> Tensor:
        """Features [B, width] of an image's tiles [B, channels, h, h] in [0, 1], which are resized first."""
        side = self.config.side
        if side is not None and tiles.shape[-1] != side:
            tiles = F.interpolate(tiles, (side, side), mode="bilinear")
        features: Tensor = self.inner(self.prepared(tiles))
        return features

    def maps(self, images: Tensor) -> Tensor:
        """Features [B, width, grid, grid] of the tiles of images [B, channels, size, size] in [0, 1]."""
        tiles = windows(images, self.config.grid, self.config.window)  # [B, grid, grid, C, side, side]
        features = self.see(tiles.flatten(0, 2)).view(*tiles.shape[:3], self.width)
        return features.permute(0, 3, 1, 2)

    def forward(self, images: Tensor) -> Tensor:
        """Features [B, width] of images [B, channels, size, size] in [0, 1]."""
        return self.maps(images).mean(dim=(2, 3))


def windows(images: Tensor, grid: int, window: float) -> Tensor:
    """Tiles of images [B, C, H, W], evenly spaced: [B, grid, grid, C, side, side].

    Args:
        images: of any size.
        grid: tiles along each side.
        window: their side as a fraction of the image's shorter one.
    """
    side = _pixels(window, min(images.shape[2:]))
    tops, lefts = (_starts(length - side, grid) for length in images.shape[2:])
    rows = [images[:, :, top : top + side] for top in tops]
    return torch.stack([torch.stack([row[..., left : left + side] for left in lefts], dim=1) for row in rows], dim=1)


def standardised(tiles: Tensor) -> Tensor:
    """Every channel of every tile [..., side, side] with mean 0 and standard deviation 1, less for flat tiles."""
    apart = tiles - tiles.mean(dim=(-2, -1), keepdim=True)
    return apart / (square_root(apart.square().mean(dim=(-2, -1), keepdim=True)) + _FAINT)


def _pixels(window: float, size: int) -> int:
    return max(1, round(window * size))


def _starts(slack: int, grid: int) -> list[int]:
    """Where `grid` tiles begin that share `slack` pixels; a single one is in the middle."""
    return [round(slack * number / (grid - 1)) for number in range(grid)] if grid > 1 else [slack // 2]
