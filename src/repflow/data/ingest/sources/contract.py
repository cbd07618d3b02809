"""The interface of all image sources: a source returns one array of images and one listing row per file."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd

from repflow.data.ingest.resizing import ImageFormat

LISTED = ("path", "index", "given_class", "split", "group", "reason", "width", "height", "mode", "frames")
"""The manifest columns that a source fills; the others are computed from the stored pixels."""

Elsewhere = Callable[[Path], tuple[Path, ...]]
"""Given the folder of a source: the folders outside of it, free of links, that links in it may lead to."""


def nowhere(root: Path) -> tuple[Path, ...]:
    """Links may not lead out of a folder."""
    return ()


@dataclass(frozen=True)
class Request:
    """The arguments of `Source.collect`.

    Attributes:
        form: the image format of the store.
        root: the folder that relative paths start from.
        seed: the random seed of the run.
        stream: name of the random stream, different for every domain.
        elsewhere: where links may lead to that lead out of the source's folder. Asked only where there is such a link.
    """

    form: ImageFormat
    root: Path
    seed: int
    stream: str
    elsewhere: Elsewhere = nowhere


@dataclass(frozen=True)
class Collected:
    """The images and the listing of a source.

    Attributes:
        images: uint8 [N, channels, height, width], in the store's image format or at their own common size.
        listing: one row per file with the columns `LISTED`; `index` is the row in `images`, or -1 if unreadable.
    """

    images: np.ndarray
    listing: pd.DataFrame


class Source(Protocol):
    """Where the images of a domain come from. Each kind of source is one module with one such class."""

    def collect(self, request: Request) -> Collected:
        """Read all images.

        Raises:
            DataError: the source cannot be read at all. A single unreadable file is listed with the reason instead.
        """
        ...


def array_listing(name: str, classes: Sequence[str | None], width: int, height: int, mode: str) -> pd.DataFrame:
    """The listing of images that come as one array and are all readable.

    Args:
        name: the first part of every path, as in "digits/0001".
        classes: the class of every image, None where it has none.
        width, height: of the originals, in pixels.
        mode: of the originals, as Pillow names it.
    """
    count = len(classes)
    digits = max(4, len(str(count - 1)))
    return listing(
        path=[f"{name}/{number:0{digits}}" for number in range(count)],
        index=np.arange(count),
        given_class=list(classes),
        width=width,
        height=height,
        mode=mode,
    )


def listing(path: Sequence[str], **columns: object) -> pd.DataFrame:
    """A listing of the given files; columns that are not given are missing, -1 or, for `frames`, 1."""
    empty = {"index": -1, "given_class": None, "split": None, "group": None, "reason": None}
    empty |= {"width": -1, "height": -1, "mode": None, "frames": 1}
    return pd.DataFrame({"path": list(path)}).assign(**(empty | columns))[list(LISTED)]  # type: ignore[arg-type]


def in_order(names: Iterable[str]) -> list[str]:
    """The distinct names in natural order: numbers inside them count by value, so that "10" comes after "9"."""
    return sorted(set(names), key=_natural)


def _natural(name: str) -> tuple[list[str | int], str]:
    parts = re.split(r"([0-9]+)", name)  # text and numbers alternate, so that equal types are compared
    return [int(part) if number % 2 else part for number, part in enumerate(parts)], name
