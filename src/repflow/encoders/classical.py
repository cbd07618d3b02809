"""Image features without learned weights, which a representation has to beat: pixels, and oriented gradients."""

import math
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from repflow.errors import ParameterError
from repflow.hardware.portable_math import square_root
from repflow.schema import Count, parameters


@parameters
class PixelsConfig:
    """The pixels themselves; images larger than `most` pixels a side are averaged down to that size."""

    name: Literal["pixels"] = "pixels"
    most: Count = 32


@parameters
class HOGConfig:
    """Histograms of oriented gradients.

    Attributes:
        cells: along each side of the image; pixels beyond a multiple of it, right and below, are not used.
        directions: bins of the unsigned direction, over 180 degrees.
        block: cells along each side of the blocks whose histograms are normalised together.
    """

    name: Literal["hog"] = "hog"
    cells: Count = 4
    directions: Annotated[int, Field(ge=2)] = 9
    block: Count = 2


@parameters
class ColourHistogramConfig:
    """How often each colour occurs.

    Attributes:
        bins: of each channel; a colour is a combination of them.
    """

    name: Literal["colour_histogram"] = "colour_histogram"
    bins: Annotated[int, Field(ge=2)] = 8


def pixels(config: PixelsConfig, channels: int, size: int) -> tuple[nn.Module, int]:
    """The body for images of `size` pixels, and the dimension of its features."""
    side = min(size, config.most)
    return nn.Sequential(nn.AdaptiveAvgPool2d(side), nn.Flatten()), channels * side * side


def colour_histogram(config: ColourHistogramConfig, channels: int) -> tuple[nn.Module, int]:
    """The body, which takes images in [0, 1], and the dimension of its features."""
    return ColourHistogram(config.bins), config.bins**channels


class ColourHistogram(nn.Module):
    """The share of each colour among the pixels of an image, without where they are.

    Swain and Ballard. Color Indexing. International Journal of Computer Vision 1991.

    Args:
        bins: of each channel.
    """

    def __init__(self, bins: int):
        super().__init__()
        self._bins = bins

    def forward(self, images: Tensor) -> Tensor:
        """Features [B, bins to the power of C] of images [B, C, H, W] in [0, 1]; every row sums to 1."""
        levels = (images * self._bins).long().clamp(0, self._bins - 1)  # [B, C, H, W]
        place = self._bins ** torch.arange(images.shape[1], device=images.device)
        colours = (levels * place.view(-1, 1, 1)).sum(1).flatten(1)  # [B, H x W]
        counts = torch.zeros(len(images), self._bins ** images.shape[1], device=images.device)
        counts.scatter_add_(1, colours, torch.ones_like(colours, dtype=counts.dtype))
        return counts / colours.shape[1]


def hog(config: HOGConfig, size: int) -> tuple[nn.Module, int]:
    """The body for images of `size` pixels, and the dimension of its features.

    Raises:
        ParameterError: there are fewer than two pixels to a cell, or fewer cells than a block has.
    """
    if size < 2 * config.cells or config.cells < config.block:
        raise ParameterError(f"encoder: hog with {config.cells} cells does not fit images of {size} pixels")
    blocks = config.cells - config.block + 1
    return HOG(config, size // config.cells), (blocks * config.block) ** 2 * config.directions


class HOG(nn.Module):
    """Histograms of oriented gradients, as `skimage.feature.hog` with `block_norm="L2-Hys"` computes them.

    Dalal and Triggs. Histograms of Oriented Gradients for Human Detection. CVPR 2005. At every pixel the channel with
    the largest gradient votes, with its length, for its direction.

    Args:
        config: cells, directions and blocks.
        pixels: along each side of a cell.
    """

    borders: Tensor

    def __init__(self, config: HOGConfig, pixels: int):
        super().__init__()
        self._config, self._pixels = config, pixels
        # In double precision: at the border of an image directions are exactly 0 or 90 degrees, and belong to the bin
        # that begins there.
        angles = [math.pi * number / config.directions for number in range(1, config.directions)]
        borders = torch.tensor([[math.cos(angle), math.sin(angle)] for angle in angles])
        self.register_buffer("borders", borders, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Features [B, width] of images [B, channels, size, size]."""
        down, right = self._gradients(images)  # [B, H, W]
        magnitude = square_root(down.square() + right.square())
        backwards = (down < 0) | ((down == 0) & (right < 0))
        down, right = torch.where(backwards, -down, down), torch.where(backwards, -right, right)
        # A direction is beyond an angle where the cross product with it is positive: no arc tangent is needed.
        cosines, sines = self.borders[:, 0].view(1, -1, 1, 1), self.borders[:, 1].view(1, -1, 1, 1)
        direction = (down[:, None] * cosines - right[:, None] * sines >= 0).sum(1)  # [B, H, W]
        votes = F.one_hot(direction, self._config.directions).movedim(3, 1) * magnitude[:, None]
        extent = self._pixels * self._config.cells
        cells = F.avg_pool2d(votes[:, :, :extent, :extent], self._pixels)  # [B, directions, cells, cells]
        return self._blocks(cells).flatten(1)

    @staticmethod
    def _gradients(images: Tensor) -> tuple[Tensor, Tensor]:
        """Central differences of the channel in which they are longest, 0 at the borders: twice [B, H, W]."""
        down, right = torch.zeros_like(images), torch.zeros_like(images)
        down[:, :, 1:-1] = images[:, :, 2:] - images[:, :, :-2]
        right[:, :, :, 1:-1] = images[:, :, :, 2:] - images[:, :, :, :-2]
        longest = (down.square() + right.square()).argmax(dim=1, keepdim=True)
        return down.gather(1, longest)[:, 0], right.gather(1, longest)[:, 0]

    def _blocks(self, cells: Tensor) -> Tensor:
        """Normalised blocks [B, blocks, blocks, values of a block] of cells [B, directions, cells, cells]."""
        size = self._config.block
        blocks = cells.unfold(2, size, 1).unfold(3, size, 1)  # [B, directions, blocks, blocks, size, size]
        values = blocks.permute(0, 2, 3, 4, 5, 1).flatten(3)
        clipped = _unit(values).clamp(max=0.2)
        return _unit(clipped)


def _unit(values: Tensor) -> Tensor:
    return values * torch.rsqrt(values.square().sum(-1, keepdim=True) + 1e-10)
