"""Tiles: where they are cut out, and that no draw of one image touches another's."""

import torch

from repflow.draw import Draw
from repflow.pretext.tiles import tiles

WHERE = torch.stack(torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij"))
"""An image that says of every pixel where it lies: [2, 32, 32]."""


def test_every_tile_is_a_whole_square_of_its_own_cell() -> None:
    found = tiles(WHERE.expand(200, -1, -1, -1), 3, 0.85, Draw(0, "cut"))
    assert found.shape == (200, 9, 2, 8, 8)
    for cell in range(9):
        row, column = divmod(cell, 3)
        corner = found[:, cell, :, :1, :1]
        offset = corner[:, :, 0, 0] - torch.tensor([10.0 * row, 10.0 * column])
        assert {tuple(each) for each in offset.tolist()} == {(a, b) for a in range(3) for b in range(3)}
        assert torch.equal(found[:, cell], corner + WHERE[:, :8, :8])


def test_tiles_that_fill_their_cells_are_the_image() -> None:
    found = tiles(WHERE[None, :, :30, :30], 3, 1.0, Draw(0, "cut"))[0]
    rows = [torch.cat(list(found[3 * row : 3 * row + 3]), dim=2) for row in range(3)]
    assert torch.equal(torch.cat(rows, dim=1), WHERE[:, :30, :30])
