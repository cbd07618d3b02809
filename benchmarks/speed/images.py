"""The images of the benchmarks, the same for every implementation."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_images

from repflow.data.ingest.ingestion import DataConfig
from repflow.data.ingest.shards import to_image_format
from repflow.data.ingest.sources.contract import Request
from repflow.data.read.rows import Rows
from repflow.errors import DataError
from repflow.schema import build

CLASSES = 10
MNIST = {"kind": "idx", "images": "train-images-idx3-ubyte", "labels": "train-labels-idx1-ubyte"}


@dataclass(frozen=True)
class Images:
    """Colour images in memory.

    Attributes:
        pixels: uint8 [N, 3, size, size].
        labels: int64 [N], from 0 to 9.
        origin: a description of the images.
    """

    pixels: np.ndarray
    labels: np.ndarray
    origin: str

    def __len__(self) -> int:
        return len(self.labels)

    def pillow(self, count: int | None = None) -> list[Image.Image]:
        """The first `count` images, or all, as Pillow images."""
        return [Image.fromarray(image) for image in np.ascontiguousarray(self.pixels[:count].transpose(0, 2, 3, 1))]

    def rows(self) -> Rows:
        """The images as rows for repflow's trainer."""
        return Rows(self.pixels, self.labels, np.arange(len(self)), tuple(map(str, range(CLASSES))))

    def write(self, folder: Path, ending: str, count: int) -> None:
        """Write the first `count` images as files to one folder per class."""
        for number, (image, label) in enumerate(zip(self.pillow(count), self.labels[:count], strict=True)):
            place = folder / str(label)
            place.mkdir(parents=True, exist_ok=True)
            image.save(place / f"{number:06}.{ending}")


def load(data: Path | None, count: int, size: int) -> Images:
    """`count` images of `size` pixels: from the data set at `data`, or crops of scikit-learn's photographs.

    Args:
        data: a folder with one folder per class, an archive of one, or a folder with MNIST's files, `cifar10.tar.xz` or
            a folder `mnist`.
        count: number of images; smaller data sets are repeated.
        size: width and height in pixels.

    Raises:
        DataError: there is no such data set at `data`.
    """
    return photographs(count, size) if data is None else real(data, count, size)


def photographs(count: int, size: int) -> Images:
    """Random crops of scikit-learn's two photographs; the label is the tenth of the width that the crop is from."""
    photos, generator = np.stack(load_sample_images().images), np.random.default_rng(0)
    height, width = photos.shape[1:3]
    top, left = generator.integers(0, height - size, count), generator.integers(0, width - size, count)
    windows = np.lib.stride_tricks.sliding_window_view(photos, (size, size), axis=(1, 2))  # [2, y, x, 3, size, size]
    pixels = windows[np.arange(count) % len(photos), top, left]
    return Images(
        np.ascontiguousarray(pixels), left * CLASSES // (width - size), "pieces of scikit-learn's photographs"
    )


def real(data: Path, count: int, size: int) -> Images:
    """A shuffled part of a data set on disk."""
    config = build(DataConfig, {**source(data), "size": size, "channels": 3, "resize": "stretch"}, "benchmark")
    collected = config.source.collect(Request(config.form, data.parent, 0, "benchmark"))
    readable = collected.listing[collected.listing["index"] >= 0]
    order = np.resize(np.random.default_rng(0).permutation(len(readable)), count)
    labels = readable["given_class"].astype("category").cat.codes.to_numpy(np.int64) % CLASSES
    pixels = to_image_format(collected.images[readable["index"].to_numpy()[order]], config.form)
    return Images(pixels, labels[order], f"{min(count, len(readable)):,} images of {data.name}")


def source(data: Path) -> dict[str, Any]:
    """The parameters `source` and `target` for the data at `data`, with paths relative to its parent."""
    found: dict[str, Any]
    if data.is_file():
        found = {"kind": "archive", "path": data.name}
    elif (data / "cifar10.tar.xz").exists():
        found = {"kind": "archive", "path": f"{data.name}/cifar10.tar.xz"}
    elif mnist := mnist_folder(data):
        names = {key: str((mnist / MNIST[key]).relative_to(data.parent)) for key in ("images", "labels")}
        found = {"kind": "idx", **names}
    elif data.is_dir():
        found = {"kind": "folder", "path": data.name}
    else:
        raise DataError(f"{data}: neither a folder nor an archive; give --data a folder of class folders, or MNIST's")
    return {"source": found, "target": {"kind": "none"}}


def mnist_folder(data: Path) -> Path | None:
    """The folder of MNIST's files in `data`, None if there are none."""
    for folder in (data, data / "mnist"):
        if any((folder / f"{MNIST['images']}{ending}").exists() for ending in ("", ".gz")):
            return folder
    return None
