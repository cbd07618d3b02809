"""Sheets of pictures as PNG files, each of which says what it shows. The same bytes for the same pictures."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from repflow.files import writing

if TYPE_CHECKING:
    from repflow.evaluation.image_grids import Sheet

_GAP = 4
_WIDE_GAP = 16
"""Pixels between pictures, and between groups of them."""


def side_by_side(lines: Sequence[np.ndarray], columns: int, *, cell: int = 64, group: int = 1) -> np.ndarray:
    """Pictures in lines, enlarged pixel by pixel, on a transparent ground.

    Args:
        lines: uint8 [n, 1 or 3, height, width] each, all of one height and width.
        columns: places in a line; a line may fill fewer.
        cell: about how many pixels wide each picture becomes; none is made smaller.
        group: between so many pictures and the next ones the gap is wider; with 1 all gaps are alike.

    Returns:
        uint8 [height, width, 4], red, green, blue and opacity.
    """
    height, width = lines[0].shape[2:]
    factor = max(1, round(cell / width))
    high, wide = height * factor + _GAP, width * factor + _GAP
    wider = (_WIDE_GAP - _GAP) * (group > 1)
    sheet = np.zeros((len(lines) * high - _GAP, columns * wide - _GAP + (columns - 1) // group * wider, 4), np.uint8)
    for number, line in enumerate(lines):
        for column, image in enumerate(line):
            top, left = number * high, column * wide + column // group * wider
            pixels = np.broadcast_to(image.transpose(1, 2, 0), (height, width, 3))
            place = sheet[top : top + high - _GAP, left : left + wide - _GAP]
            place[..., :3] = pixels.repeat(factor, axis=0).repeat(factor, axis=1)
            place[..., 3] = 255
    return sheet


def as_png(sheet: np.ndarray, title: str = "", caption: str = "") -> bytes:
    """What `side_by_side` gives as a PNG file, with what it says of itself."""
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    said = PngInfo()
    for keyword, text in (("Title", title), ("Description", caption)):
        if text:
            said.add_itxt(keyword, text)
    file = io.BytesIO()
    Image.fromarray(sheet).save(file, format="png", optimize=True, pnginfo=said)
    return file.getvalue()


def write_sheets(folder: Path, sheets: "Sequence[Sheet]") -> None:
    """Write `folder`/NAME.png for every sheet; what was in the folder goes."""
    with writing(folder, folder=True) as fresh:
        for sheet in sheets:
            columns = max(map(len, sheet.lines))
            drawn = side_by_side(sheet.lines, columns, cell=sheet.cell, group=sheet.group)
            (fresh / f"{sheet.name}.png").write_bytes(as_png(drawn, sheet.title, sheet.caption))


@dataclass(frozen=True)
class Drawn:
    """A sheet as its file has it.

    Attributes:
        name: of the file, without its suffix.
        title: what it is, in a few words.
        caption: what is seen where.
        png: the file's bytes.
        width: in pixels.
    """

    name: str
    title: str
    caption: str
    png: bytes
    width: int


def read_sheets(folder: Path) -> list[Drawn]:
    """The sheets in `folder`, by their names, filters last; none where there is no such folder."""
    from PIL import Image

    found = []
    for path in sorted(folder.glob("*.png"), key=lambda path: (path.stem == "filters", path.name)):
        with Image.open(path) as image:
            said = image.info
            drawn = Drawn(path.stem, said.get("Title", ""), said.get("Description", ""), path.read_bytes(), image.width)
        found.append(drawn)
    return found
