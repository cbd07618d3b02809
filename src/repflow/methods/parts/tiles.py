"""Tiles of images: cut from the cells of a grid, encoded, permuted and assembled."""

import torch
import torch.nn.functional as F
from torch import Tensor

from repflow.augment.per_sample import pair
from repflow.encoders import Encoder
from repflow.encoders.tiled import TiledEncoder, standardised
from repflow.randomness.draws import Draw

GRID = 3
"""Tiles along each side of an image, in jigsaw puzzles and in context prediction."""
TILES = GRID * GRID


def cut_tiles(images: Tensor, share: float, jitter: float, side: int, draw: Draw) -> Tensor:
    """A tile from every cell of the 3x3 grid of each image, row by row.

    Args:
        images: [B, C, H, W], of 3 pixels or more each way.
        share: side of a tile as a fraction of its cell's, in (0, 1]; the rest is gap.
        jitter: fraction of the gap used for random positions, in [0, 1]; with 0 a tile is at the centre of its cell.
        side: pixels to which tiles are resized.
        draw: random numbers for the positions.

    Returns:
        [B, 9, C, side, side].
    """
    cell = min(images.shape[2:]) // GRID
    old = max(1, round(share * cell))
    slack = round(jitter * (cell - old))
    cells = torch.arange(TILES, device=draw.device)
    top, left = ((length - GRID * cell) // 2 + (cell - old - slack) // 2 for length in images.shape[2:])
    corners = cell * torch.stack([cells // GRID, cells % GRID], dim=1) + pair(top, left, draw.device)  # [9, 2]
    places = corners + draw.integers(len(images), TILES, 2, high=slack + 1)  # [B, 9, 2], rows and columns
    tiles = crop_windows(images, places.to(images.device), old)
    seen: Tensor = F.interpolate(tiles.flatten(0, 1), (side, side), mode="bilinear").unflatten(0, (-1, TILES))
    return seen


def crop_windows(images: Tensor, places: Tensor, side: int) -> Tensor:
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


def assemble(tiles: Tensor, size: tuple[int, ...]) -> Tensor:
    """Assemble tiles [B, 9, C, side, side] to images [B, C, *size], without gaps."""
    rows = torch.cat(list(tiles.unflatten(1, (GRID, GRID)).unbind(2)), dim=-1)  # [B, 3, C, side, 3 side]
    return F.interpolate(torch.cat(list(rows.unbind(1)), dim=-2), size, mode="bilinear")


def permuted(tiles: Tensor, order: Tensor) -> Tensor:
    """Permute tiles [B, N, ...]: tile `order[b, n]` comes to position n; `order` is int64 [B, N]."""
    return tiles[torch.arange(len(tiles), device=tiles.device)[:, None], order]


def of_tiles(encoder: Encoder) -> Encoder:
    """The encoder of a single tile: the inner one of a tiled encoder; any other encodes a tile as it does an image."""
    return encoder.inner if isinstance(encoder, TiledEncoder) else encoder


def prepared(encoder: Encoder, tiles: Tensor, standardise: bool) -> Tensor:
    """Tiles as `of_tiles(encoder)` takes them.

    Args:
        encoder: the method's. A tiled one prepares them itself, as it does when it reads an image.
        tiles: [B, C, side, side] in [0, 1].
        standardise: for any other encoder, give every channel of a tile mean 0 and deviation 1 in the encoder's units.
    """
    if isinstance(encoder, TiledEncoder):
        return encoder.prepared(tiles)
    return standardised(tiles) * encoder.std + encoder.mean if standardise else tiles
