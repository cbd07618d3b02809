"""What every source of images keeps: asked for images in a form, it gives one array and one row per file."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd

from repflow.data.ingest.resizing import Form

LISTED = ("path", "index", "given_class", "split", "group", "reason", "width", "height", "mode", "frames")
"""The manifest's columns that a source fills; the others are computed from the stored pixels."""

SPLITS = {"train": "train", "val": "validation", "valid": "validation", "validation": "validation", "test": "test"}
"""How a source may spell a split, and how the manifest does."""


@dataclass(frozen=True)
class Request:
    """What a source is asked for.

    Attributes:
        form: the form of the store.
        root: where relative paths start.
        seed: the run's seed.
        stream: a name for what is drawn at random, different for every domain.
    """

    form: Form
    root: Path
    seed: int
    stream: str


@dataclass(frozen=True)
class Collected:
    """What a source holds.

    Attributes:
        images: uint8 [N, channels, height, width], in the store's form or at their own size, all alike.
        listing: one row per file with the columns `LISTED`; `index` is the row in `images`, or -1 where there is none.
    """

    images: np.ndarray
    listing: pd.DataFrame


class Source(Protocol):
    """Where the images of a domain come from. A kind of source is one module with one such class."""

    def collect(self, request: Request) -> Collected:
        """Read everything.

        Raises:
            DataError: the source cannot be read at all; a single file that cannot is listed with its reason.
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
    """A listing of the given files; a column that is not given is missing, -1 or, for `frames`, 1."""
    empty = {"index": -1, "given_class": None, "split": None, "group": None, "reason": None}
    empty |= {"width": -1, "height": -1, "mode": None, "frames": 1}
    return pd.DataFrame({"path": list(path)}).assign(**(empty | columns))[list(LISTED)]  # type: ignore[arg-type]


def in_order(names: Iterable[str]) -> list[str]:
    """Names sorted as a person would: numbers inside them by their value, so that "10" comes after "9"."""
    return sorted(set(names), key=_natural)


def _natural(name: str) -> tuple[list[str | int], str]:
    parts = re.split(r"([0-9]+)", name)  # text and number take turns, so that like is compared with like
    return [int(part) if number % 2 else part for number, part in enumerate(parts)], name
