"""The image store of one domain: every image decoded once to uint8, with one manifest row of image statistics.

A store is a folder with three files:

- `images.npy`: uint8 [N, channels, size, size], memory-mapped when read;
- `manifest.parquet`: one row per file that was found, with the columns `COLUMNS`; a file that could not be decoded has
  `index` -1 and a `reason`;
- `store.json`: the classes in order, the shape, and how the store was made.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
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


def write_store(
    folder: Path, images: np.ndarray, manifest: pd.DataFrame, classes: tuple[str, ...], origin: Mapping[str, Any]
) -> None:
    """Write a store to `folder` atomically.

    Args:
        folder: where the store goes; an existing store is replaced.
        images: uint8 [N, channels, size, size].
        manifest: one row per file, all of `COLUMNS`.
        classes: names of the classes in the order of the labels.
        origin: how the store was made, as JSON values without absolute paths or times.
    """
    about = {
        "images": len(images),
        "unreadable": int((manifest["index"] < 0).sum()),
        "shape": list(images.shape[1:]),
        "classes": list(classes),
        "origin": dict(origin),
    }
    with writing(folder, folder=True) as fresh:
        _save(fresh / "images.npy", images)
        manifest[list(COLUMNS)].astype(COLUMNS).to_parquet(fresh / "manifest.parquet", index=False)
        text = json.dumps(about, indent=2, ensure_ascii=False) + "\n"
        (fresh / "store.json").write_text(text, encoding="utf-8")


def _save(path: Path, images: np.ndarray) -> None:
    """Write a .npy file. np.save hides the system's error when the disk is full."""
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(images))
        file.write(np.ascontiguousarray(images).reshape(-1).data)
