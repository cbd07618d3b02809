"""Tiles of images: cut out, each at its own place, and put together again."""

import torch
import torch.nn.functional as F
from torch import Tensor

from repflow.hardware.portable_math import square_root
from repflow.randomness.draws import Draw

GRID = 3
"""Tiles along each side of an image, in jigsaw puzzles and in context prediction."""
TILES = GRID * GRID
FAINT = 0.01
"""Contrast, as a standard deviation of values in [0, 1], below which a tile is noise."""


def tiles_of(images: Tensor, share: float, jitter: float, side: int, draw: Draw) -> Tensor:
    """A tile from every cell of the 3x3 grid of each image, row by row.

    Args:
        images: [B, C, H, W], of 3 pixels or more each way.
        share: of a cell's side that the tile's is, in (0, 1]; what is left is gap.
        jitter: share of the gap in which the tile lies anywhere, in [0, 1]; at 0 it lies in the middle of its cell.
        side: pixels to which a tile is made larger or smaller.
        draw: where the tiles lie.

    Returns:
        [B, 9, C, side, side].
    """
    cell = min(images.shape[2:]) // GRID
    old = max(1, round(share * cell))
    slack = round(jitter * (cell - old))
    cells = torch.arange(TILES, device=draw.device)
    first = torch.tensor([(length - GRID * cell) // 2 + (cell - old - slack) // 2 for length in images.shape[2:]])
    corners = cell * torch.stack([cells // GRID, cells % GRID], dim=1) + first.to(cells)  # [9, 2]
    places = corners + draw.integers(len(images), TILES, 2, high=slack + 1)  # [B, 9, 2], rows and columns
    tiles = cut(images, places.to(images.device), old)
    seen: Tensor = F.interpolate(tiles.flatten(0, 1), (side, side), mode="bilinear").unflatten(0, (-1, TILES))
    return seen


def cut(images: Tensor, places: Tensor, side: int) -> Tensor:
    """Windows of images.

    Args:
        images: [B, C, H, W].
        places: row and column of each window's upper left corner, int64 [B, N, 2].
        side: of the windows.

    Returns:
        [B, N, C, side, side].
    """
    windows = images.unfold(2, side, 1).unfold(3, side, 1)  # [B, C, rows, columns, side, side]
    each = torch.arange(len(images), device=images.device)[:, None]
    return windows[each, :, places[..., 0], places[..., 1]]


def standardised(tiles: Tensor) -> Tensor:
    """Every channel of every tile [..., side, side] with mean 0 and standard deviation 1, or less where it is flat."""
    apart = tiles - tiles.mean(dim=(-2, -1), keepdim=True)
    return apart / (square_root(apart.square().mean(dim=(-2, -1), keepdim=True)) + FAINT)


def together(tiles: Tensor, size: tuple[int, ...]) -> Tensor:
    """Tiles [B, 9, C, side, side] as pictures [B, C, *size], without their gaps."""
    rows = torch.cat(list(tiles.unflatten(1, (GRID, GRID)).unbind(2)), dim=-1)  # [B, 3, C, side, 3 side]
    return F.interpolate(torch.cat(list(rows.unbind(1)), dim=-2), size, mode="bilinear")


def rearranged(tiles: Tensor, order: Tensor) -> Tensor:
    """Of tiles [B, N, ...] the one of number `order[b, n]` at the place n; `order` is int64 [B, N]."""
    return tiles[torch.arange(len(tiles), device=tiles.device)[:, None], order]
