"""IDX files, the format of MNIST: one file of images, one of labels, gzipped or not.

LeCun, Cortes and Burges. The MNIST database of handwritten digits. 1998 (the page ends with the file format).
"""

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import IO, Literal, cast

import numpy as np
import pandas as pd

from repflow.data.ingest.sources.contract import Collected, Request, array_listing
from repflow.errors import DataError, ParameterError
from repflow.schema import parameters

_UNSIGNED_BYTE = 8
_MAX_BYTES = 2**35
_BLOCK = 2**22
"""Bytes per read."""


@parameters
class Idx:
    """Images and labels in IDX files of unsigned bytes. Each file may be gzipped; the ".gz" may be left out.

    Attributes:
        images: the file of images, relative to `data.root`: [N, height, width] or [N, height, width, 3].
        labels: the file of labels [N]; None for unlabelled images.
        test_images: images of the official test set; None for none.
        test_labels: labels of the official test set.
    """

    kind: Literal["idx"]
    images: str
    labels: str | None = None
    test_images: str | None = None
    test_labels: str | None = None

    def collect(self, request: Request) -> Collected:
        """Training images, then test images, each in the order of their file. See `Source`."""
        if self.test_labels and not self.test_images:
            raise ParameterError("idx: test_labels are given, but no test_images; give both or neither")
        parts = [read_pair(request.root, self.images, self.labels)]
        if self.test_images:
            parts.append(read_pair(request.root, self.test_images, self.test_labels))
            shapes = [images.shape[1:] for images, _ in parts]
            if shapes[0] != shapes[1]:
                raise DataError(
                    f"idx: training images have the shape {shapes[0]} and test images {shapes[1]}; they must be equal"
                )
            parts = [
                (images, rows.assign(split=split))
                for (images, rows), split in zip(parts, ("train", "test"), strict=True)
            ]
        images = np.concatenate([images for images, _ in parts]) if len(parts) > 1 else parts[0][0]
        rows = pd.concat([rows for _, rows in parts], ignore_index=True).assign(index=np.arange(len(images)))
        return Collected(images, rows)


def read_pair(root: Path, images: str, labels: str | None) -> tuple[np.ndarray, pd.DataFrame]:
    """Images uint8 [N, 1 or 3, height, width] and their listing.

    Raises:
        DataError: a file is missing or damaged, or the numbers of labels and images differ.
    """
    place = _found(root / images)
    pixels = read_idx(place)
    if pixels.ndim == 3:
        pixels = pixels[:, None]
    if pixels.ndim != 4 or pixels.shape[1] not in (1, 3) or not pixels.size:
        shape = "x".join(map(str, np.moveaxis(pixels, 1, -1).shape if pixels.ndim > 3 else pixels.shape))
        expected = "[N, height, width] or [N, height, width, 3]"
        raise DataError(f"{place}: an array of shape {shape}, but images must have the shape {expected}")
    classes: list[str | None] = [None] * len(pixels)
    if labels is not None:
        label_place = _found(root / labels)
        given = read_idx(label_place)
        if given.shape != (len(pixels),):
            shape = "x".join(map(str, given.shape))
            found = f"{shape} labels for the {len(pixels)} images of {place}"
            raise DataError(f"{label_place}: {found}; give the file with the labels of these images")
        classes = [str(label) for label in given.tolist()]
    channels, height, width = pixels.shape[1:]
    rows = array_listing(Path(images).name.removesuffix(".gz"), classes, width, height, "L" if channels == 1 else "RGB")
    return pixels, rows


def read_idx(place: Path) -> np.ndarray:
    """The uint8 array in an IDX file; four axes are transposed to channels-first, as [N, 3, height, width].

    The file is read and transposed in blocks of rows, so that the array is in memory only once.

    Raises:
        DataError: it is not an IDX file of unsigned bytes, or is truncated.
    """
    try:
        with _opened(place) as file:
            shape = _read_shape(file, place)
            count, found = math.prod(shape), 0
            pixels = np.empty((shape[0], shape[3], *shape[1:3]) if len(shape) == 4 else shape, np.uint8)
            rows = np.moveaxis(pixels, 1, -1) if len(shape) == 4 else pixels  # in the order of the file
            step = max(1, _BLOCK * shape[0] // max(1, count))
            for first in range(0, shape[0] if count else 0, step):
                part = rows[first : first + step]
                content = file.read(part.size)
                found += len(content)
                if len(content) < part.size:
                    break
                part[:] = np.frombuffer(content, np.uint8).reshape(part.shape)
            more = file.read(1)
    except (OSError, EOFError, MemoryError, zlib.error) as error:
        raise DataError(f"{place}: cannot be read ({error}); download it again") from error
    if found != count or more:
        actual = "more" if more else f"{found:,}"
        raise DataError(f"{place}: its header says {count:,} bytes, but there are {actual}; download it again")
    return pixels


def _read_shape(file: IO[bytes], place: Path) -> tuple[int, ...]:
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or not magic[3]:
        raise DataError(f"{place}: is not an IDX file; its first bytes are {magic.hex(' ')}")
    if magic[2] != _UNSIGNED_BYTE:
        raise DataError(f"{place}: has the IDX data type 0x{magic[2]:02x}; only unsigned bytes (0x08) are supported")
    sizes = file.read(4 * magic[3])
    if len(sizes) < 4 * magic[3]:
        raise DataError(f"{place}: ends within its header; download it again")
    shape = struct.unpack(f">{magic[3]}I", sizes)
    if math.prod(shape) > _MAX_BYTES:
        raise DataError(f"{place}: its header says {math.prod(shape):,} bytes, more than the limit of {_MAX_BYTES:,}")
    return shape


def _found(place: Path) -> Path:
    bare = place.with_name(place.name.removesuffix(".gz"))
    for candidate in (place, bare, bare.with_name(bare.name + ".gz")):
        if candidate.is_file():
            return candidate
    raise DataError(f"{place}: no such file, with or without .gz; check `data.root` and the file names of the source")


def _opened(place: Path) -> IO[bytes]:
    with place.open("rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
    return cast(IO[bytes], gzip.open(place)) if zipped else place.open("rb")
