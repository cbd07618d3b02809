"""Image grids as PNG files with title and caption in their metadata; byte-identical for the same images."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from repflow.files import writing

if TYPE_CHECKING:
    from repflow.evaluation.image_grids import ImageGrid

_GAP = 4
_WIDE_GAP = 16
"""Pixels between images, and between groups of images."""


def tile_images(rows: Sequence[np.ndarray], columns: int, *, cell: int = 64, group: int = 1) -> np.ndarray:
    """Arrange images in a grid with a transparent background, enlarged without smoothing.

    Args:
        rows: rows of images, uint8 [n, 1 or 3, height, width] each, all of one height and width.
        columns: columns of the grid; a row may have fewer images.
        cell: approximate width of each image in pixels; images are never made smaller.
        group: images per group; the gap between groups is wider. 1 for equal gaps.

    Returns:
        RGBA, uint8 [height, width, 4].
    """
    height, width = rows[0].shape[2:]
    factor = max(1, round(cell / width))
    high, wide = height * factor + _GAP, width * factor + _GAP
    wider = (_WIDE_GAP - _GAP) * (group > 1)
    grid = np.zeros((len(rows) * high - _GAP, columns * wide - _GAP + (columns - 1) // group * wider, 4), np.uint8)
    for number, row in enumerate(rows):
        for column, image in enumerate(row):
            top, left = number * high, column * wide + column // group * wider
            pixels = np.broadcast_to(image.transpose(1, 2, 0), (height, width, 3))
            place = grid[top : top + high - _GAP, left : left + wide - _GAP]
            place[..., :3] = pixels.repeat(factor, axis=0).repeat(factor, axis=1)
            place[..., 3] = 255
    return grid


def as_png(grid: np.ndarray, title: str = "", caption: str = "") -> bytes:
    """The output of `tile_images` as a PNG file, with title and caption in its metadata."""
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    for keyword, text in (("Title", title), ("Description", caption)):
        if text:
            info.add_itxt(keyword, text)
    file = io.BytesIO()
    Image.fromarray(grid).save(file, format="png", optimize=True, pnginfo=info)
    return file.getvalue()


def write_image_grids(folder: Path, grids: "Sequence[ImageGrid]") -> None:
    """Write `folder`/NAME.png for every image grid; other files in the folder are deleted."""
    with writing(folder, folder=True) as fresh:
        for grid in grids:
            columns = max(map(len, grid.rows))
            pixels = tile_images(grid.rows, columns, cell=grid.cell, group=grid.group)
            (fresh / f"{grid.name}.png").write_bytes(as_png(pixels, grid.title, grid.caption))


@dataclass(frozen=True)
class SavedGrid:
    """An image grid read from its file.

    Attributes:
        name: of the file, without its suffix.
        title: a short title.
        caption: description of the content.
        png: the file's bytes.
        width: in pixels.
    """

    name: str
    title: str
    caption: str
    png: bytes
    width: int


def read_image_grids(folder: Path) -> list[SavedGrid]:
    """The image grids in `folder`, sorted by name, filters last; empty if there is no such folder."""
    from PIL import Image

    found = []
    for path in sorted(folder.glob("*.png"), key=lambda path: (path.stem == "filters", path.name)):
        with Image.open(path) as image:
            info = image.info
            drawn = SavedGrid(
                path.stem, info.get("Title", ""), info.get("Description", ""), path.read_bytes(), image.width
            )
        found.append(drawn)
    return found
