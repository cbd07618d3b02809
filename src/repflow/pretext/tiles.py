"""An image cut into the tiles of a puzzle."""

import torch
from torch import Tensor

from repflow.draw import Draw


def tiles(images: Tensor, grid: int, share: float, draw: Draw) -> Tensor:
    """Cut a tile out of each cell of a grid; where it lies in its cell is random, so that its edges do not give away
    its neighbours.

    Args:
        images: [B, C, H, W], square.
        grid: cells in a row and in a column; pixels that do not fill a cell are left out, at the right and below.
        share: side of a tile as a share of a cell's, in (0, 1].
        draw: random numbers.

    Returns:
        [B, grid x grid, C, side, side], row by row.
    """
    count, channels = images.shape[:2]
    cell = images.shape[2] // grid
    side = max(1, round(share * cell))
    cells = images[:, :, : grid * cell, : grid * cell].unflatten(3, (grid, cell)).unflatten(2, (grid, cell))
    whole = cells.permute(0, 2, 4, 1, 3, 5).flatten(1, 2)  # [B, grid², C, cell, cell]
    shift = draw.integers(count, grid * grid, 2, high=cell - side + 1)  # [B, grid², 2]
    inside = shift[..., None] + torch.arange(side, device=shift.device)  # [B, grid², 2, side]
    rows, columns = inside[:, :, 0, :, None], inside[:, :, 1, None, :]
    places = (rows * cell + columns).flatten(2)[:, :, None].expand(-1, -1, channels, -1)  # [B, grid², C, side²]
    return whole.flatten(3).gather(3, places).unflatten(3, (side, side))
