"""The size of a store's images where `data.size` is null: it follows from the images of the source."""

import contextlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TypeVar

from repflow.data.ingest.decode import Undecodable, shorter_side, without_decoder_warnings
from repflow.data.ingest.resizing import ImageFormat
from repflow.data.ingest.sources.blended import Blended
from repflow.data.ingest.sources.contract import Request, Source
from repflow.data.ingest.sources.files import File, OnDisk, Streaming
from repflow.data.ingest.sources.names import as_text

SAMPLE = 1000
"""So many files are looked at, evenly spaced."""

LEAST = 16
"""Smallest size that is found, in pixels."""

STEP = 4
"""Sizes are multiples of this."""

ANY = ImageFormat(LEAST, 3, "stretch")
"""For a `Request` whose images are only measured."""

T = TypeVar("T")

log = logging.getLogger("repflow")


@dataclass(frozen=True)
class Found:
    """What the images of a source say.

    Attributes:
        size: of the stored images, in pixels.
        middle: the median of the shorter sides of the images, in pixels; 0 where none can be read.
        count: how many images were looked at.
    """

    size: int
    middle: float
    count: int


def find_size(source: Source, request: Request, most: int) -> Found:
    """The median of the shorter sides of up to `SAMPLE` images, as a multiple of `STEP` from `LEAST` to `most`.

    A function of the listing and of the headers of the files. A source of which no image can be read gets `LEAST`.

    Args:
        source: whose images are looked at; a blend has the size of its foreground.
        request: of the source.
        most: a multiple of `STEP`, in pixels.

    Raises:
        DataError: the source cannot be read at all.
    """
    # What is odd about the source is said when its images are read.
    with _silently(), without_decoder_warnings():
        sides = _shorter_sides(source, request)
    middle = median(sides) if sides else 0
    return Found(min(most, max(LEAST, STEP * int(middle / STEP + 0.5))), middle, len(sides))


def _shorter_sides(source: Source, request: Request) -> list[int]:
    """Of the images that can be read, in pixels."""
    if isinstance(source, Blended):
        return _shorter_sides(source.foreground, request)
    if not isinstance(source, Streaming):
        rows = source.collect(request).listing
        return [side for side in rows[["width", "height"]].min(axis=1).tolist() if side > 0]
    files = source.stream(request).files
    if isinstance(files, list):
        found = [_side(file) for file in _spread(files)]
    else:  # each holds its bytes only until the next one is read
        of_all = sorted(((as_text(file.path), _side(file)) for file in files), key=lambda pair: pair[0])
        found = [side for _, side in _spread(of_all)]
    return [side for side in found if side is not None]


def _side(file: File) -> int | None:
    try:
        if isinstance(file.content, OnDisk):
            return shorter_side(file.content.checked())
        return shorter_side(file.content())
    except (Undecodable, OSError):
        return None


def _spread(items: Sequence[T]) -> list[T]:
    """Up to `SAMPLE` of the items, evenly spaced."""
    count = min(SAMPLE, len(items))
    return [items[number * len(items) // count] for number in range(count)]


@contextlib.contextmanager
def _silently() -> Iterator[None]:
    before = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(before)
