"""The image store of one domain: every image decoded once to uint8, with one manifest row of image statistics.

A store is a folder with three files:

- `images.npy`: uint8 [N, channels, size, size], memory-mapped when read;
- `manifest.parquet`: one row per file that was found, with the columns `COLUMNS`; a file that could not be decoded has
  `index` -1 and a `reason`;
- `store.json`: the classes in order, the shape, and how the store was made.
"""

import io
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pandas as pd

from repflow.errors import DataError
from repflow.files import writing

NO_LABEL = -1

COLUMNS = {
    "path": "string",  # relative to the source's root, or an id such as "digits/0001"; "/" between parts
    "index": "int64",  # row of images.npy, or -1 where the file could not be decoded
    "label": "int64",  # position in store.json's classes, or -1 where there is none
    "given_class": "string",  # the class's name as the source spells it, missing where there is none
    "split": "string",  # train, validation or test where the source gives it, else missing
    "group": "string",  # images of one group are never divided by a split; missing where there is none
    "reason": "string",  # why the file could not be decoded, missing where it could
    "width": "int64",  # of the original, in pixels (-1 where unreadable, as all that follow)
    "height": "int64",
    "mode": "string",  # of the original, as Pillow names it
    "frames": "int64",  # more than 1 for an animated file, of which the first frame is kept
    "sha256": "string",  # of the stored pixels
    "phash": "uint64",  # perceptual hash of the stored pixels: signs of the low 8x8 cosine coefficients
    "dhash": "uint64",  # difference hash of the stored pixels: signs of horizontal steps on a 9x8 grid
    "brightness": "float64",  # mean of the stored grey image, 0 to 255
    "contrast": "float64",  # standard deviation of the stored grey image
    "entropy": "float64",  # of the stored grey image's histogram, in bits, 0 to 8
    "sharpness": "float64",  # variance of the Laplacian of the stored grey image
    "red": "float64",  # channel means of the stored image, 0 to 255 (all alike for a grey store)
    "green": "float64",
    "blue": "float64",
}
"""Columns of the manifest, in their order, with their pandas types."""


@dataclass(frozen=True)
class Store:
    """One domain's images and their manifest.

    Attributes:
        images: uint8 [N, channels, size, size], read-only and memory-mapped.
        manifest: one row per file that was found, see `COLUMNS`.
        classes: names of the classes; a label is an index into it.
    """

    images: np.ndarray
    manifest: pd.DataFrame
    classes: tuple[str, ...]

    @property
    def readable(self) -> pd.DataFrame:
        """The manifest's rows that have an image, in the order of `images`."""
        return self.manifest[self.manifest["index"] >= 0].sort_values("index")


def open_store(folder: Path) -> Store:
    """Open the store in `folder`.

    Raises:
        DataError: there is no store, or it is incomplete.
    """
    try:
        images = np.load(folder / "images.npy", mmap_mode="r")
        manifest = pd.read_parquet(folder / "manifest.parquet").astype(COLUMNS)
        about = json.loads((folder / "store.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{folder}: not a readable store ({error}); run `dvc repro` or `dvc pull` first") from error
    if len(images) != about["images"]:
        raise DataError(f"{folder}: {len(images)} images, but store.json says {about['images']}; run `dvc repro` again")
    return Store(images, manifest, tuple(about["classes"]))


class ImagesFile:
    """An `images.npy` that is appended to, so that its images are never in memory together.

    Its header counts the images once the `with` block has ended without an error.

    Args:
        path: the file.
        shape: (channels, size, size) of an image.
        keep: keep the first so many images of the file, which may be one that was never completed; 0 for a new file.
    """

    def __init__(self, path: Path, shape: tuple[int, ...], keep: int = 0):
        self.shape, self.count = shape, keep
        self._file = path.open("r+b" if keep else "wb")
        if not keep:
            self._file.write(_header(0, shape))
        self._file.truncate(len(_header(0, shape)) + keep * int(np.prod(shape)))
        self._file.seek(0, os.SEEK_END)

    def append(self, images: np.ndarray) -> None:
        """Write images, uint8 [n, *shape], after the others."""
        self._file.write(np.ascontiguousarray(images).reshape(-1).data)
        self._file.flush()
        self.count += len(images)

    def __enter__(self) -> "ImagesFile":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with self._file as file:
            if error is None:
                file.seek(0)
                file.write(_header(self.count, self.shape))


def pixels_of(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """The images in the file of an `ImagesFile` that need not be complete, memory-mapped: uint8 [n, *shape]."""
    start = len(_header(0, shape))
    count = max(0, path.stat().st_size - start) // int(np.prod(shape))
    if not count:
        return np.zeros((0, *shape), np.uint8)
    return np.memmap(path, np.uint8, "r", start, (count, *shape))


def write_store(
    folder: Path,
    images: np.ndarray | Path,
    manifest: pd.DataFrame,
    classes: tuple[str, ...],
    origin: Mapping[str, Any],
) -> None:
    """Write a store to `folder` atomically.

    Args:
        folder: where the store goes; an existing store is replaced.
        images: uint8 [N, channels, size, size], or a file with them, made by `ImagesFile`, which is moved.
        manifest: one row per file, all of `COLUMNS`.
        classes: names of the classes in the order of the labels.
        origin: how the store was made, as JSON values without absolute paths or times.
    """
    shape = (np.load(images, mmap_mode="r") if isinstance(images, Path) else images).shape
    about = {
        "images": shape[0],
        "unreadable": int((manifest["index"] < 0).sum()),
        "shape": list(shape[1:]),
        "classes": list(classes),
        "origin": dict(origin),
    }
    with writing(folder, folder=True) as fresh:
        manifest[list(COLUMNS)].astype(COLUMNS).to_parquet(fresh / "manifest.parquet", index=False)
        text = json.dumps(about, indent=2, ensure_ascii=False) + "\n"
        (fresh / "store.json").write_text(text, encoding="utf-8")
        if isinstance(images, Path):
            os.replace(images, fresh / "images.npy")
        else:
            with ImagesFile(fresh / "images.npy", shape[1:]) as file:
                file.append(images)


def _header(count: int, shape: tuple[int, ...]) -> bytes:
    """The header of a .npy file. It is equally long for any number of images: numpy leaves room for it to grow."""
    header = io.BytesIO()
    described = {"descr": "|u1", "fortran_order": False, "shape": (count, *shape)}
    np.lib.format.write_array_header_1_0(header, described)
    return header.getvalue()
