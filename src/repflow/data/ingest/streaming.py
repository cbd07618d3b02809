"""Images of a store, decoded in shards and stored one after the other; a killed ingestion goes on where it was.

While the store `NAME` is made, the folder `.NAME.shards` lies beside it. Below a name that changes with everything that
the images depend on, it has the images so far and, for every shard, its rows of the manifest. A shard counts once its
rows are there, if its images have the checksums that these name.
"""

import contextlib
import hashlib
import itertools
import json
import logging
import math
import shutil
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from repflow.data.ingest.decode import without_decoder_warnings
from repflow.data.ingest.decoders import Decoders, OpenDecoders
from repflow.data.ingest.facts import sha256
from repflow.data.ingest.resizing import ImageFormat
from repflow.data.ingest.shards import (
    Shard,
    decode_shard,
    decoding_version,
    facts_of,
    files_per_shard,
    in_shards,
    to_image_format,
)
from repflow.data.ingest.sources.files import File, FileStream
from repflow.data.store import ImagesFile, pixels_of
from repflow.errors import DataError, StorageError
from repflow.files import locked, storing, writing
from repflow.hardware.cpu import usable_cores

_COPIED = 2**24
"""Bytes of images that are copied at once."""

log = logging.getLogger("repflow")


@dataclass(frozen=True)
class Stored:
    """Images on disk.

    Attributes:
        images: the file, made by `ImagesFile`.
        rows: one row per file, sorted by path; `index` is the row of an image in the file.
    """

    images: Path
    rows: pd.DataFrame


@contextlib.contextmanager
def folder_beside(store: Path) -> Iterator[Path]:
    """The locked folder of a store that is being made; its content is kept only where a run is ended from outside.

    Args:
        store: the folder of the store.

    Raises:
        RepflowError: another process is making this store.
        StorageError: the disk is full, or permission to write is missing.
    """
    folder = store.parent / f".{store.name}.shards"
    with storing(store), locked(folder, "is making the same store"):
        try:
            yield folder
        except (DataError, OSError, StorageError):  # would come again
            shutil.rmtree(folder, ignore_errors=True)
            raise
        shutil.rmtree(folder)


def store_array(images: np.ndarray, form: ImageFormat, folder: Path) -> tuple[Path, dict[str, np.ndarray]]:
    """Store images that are in memory.

    Args:
        images: uint8 [N, 1 or 3, height, width].
        form: the image format of the store.
        folder: of `folder_beside`.

    Returns:
        the file, made by `ImagesFile`, and the statistics of all images, [N] each.
    """
    place, step = folder / "images.npy", files_per_shard(form)
    facts: list[dict[str, np.ndarray]] = []
    with ImagesFile(place, (form.channels, form.size, form.size)) as file:
        for first in range(0, max(1, len(images)), step):
            part = to_image_format(images[first : first + step], form)
            facts.append(facts_of(part, usable_cores()))
            file.append(part)
    return place, {name: np.concatenate([each[name] for each in facts]) for name in facts[0]}


def store_shards(
    stream: FileStream, form: ImageFormat, folder: Path, title: str, most: int, open_decoders: OpenDecoders
) -> Stored:
    """Decode the files of a source to a file of images, which does not depend on the shards or on what decodes them.

    Args:
        stream: the files.
        form: the image format of the store.
        folder: of `folder_beside`.
        title: what is being made, for messages.
        most: files of a shard.
        open_decoders: what decodes.
    """
    own = folder / _key(stream, form, most)
    for old in folder.iterdir():
        if old.is_dir() and (old != own or stream.version is None):
            shutil.rmtree(old)
    own.mkdir(exist_ok=True)
    shape = (form.channels, form.size, form.size)
    total = len(stream.files) if isinstance(stream.files, list) else None
    done = _finished(own, shape)
    kept = sum(int((rows["index"] >= 0).sum()) for rows in done)
    if done:
        of = f" of {total:,}" if total else ""
        log.info("%s: goes on after %s files%s that an earlier run has decoded", title, f"{_count(done):,}", of)
    parts = list(done)
    shards = in_shards(stream.files, most)
    skipped = sum(1 for _ in itertools.islice(shards, len(done)))
    left = math.ceil((total - _count(done)) / most) if total else 0
    with (
        without_decoder_warnings(),
        _progress(title, total, _count(done)) as progress,
        ImagesFile(own / "images.npy", shape, kept) as images,
        open_decoders(left, stream.movable) as decoders,
    ):
        for number, shard in enumerate(_decoded(shards, form, decoders), skipped):
            images.append(shard.images)
            with writing(own / f"{number:06}.parquet") as fresh:
                shard.rows.to_parquet(fresh)
            parts.append(shard.rows)
            progress.update(len(shard.rows))
    return _sorted(own, stream, parts or [decode_shard([], form, 1).rows], shape)


def _progress(title: str, total: int | None, done: int) -> Any:
    """A progress bar; silent where standard error is not a terminal."""
    hidden = not sys.stderr.isatty()
    return tqdm(total=total, initial=done, desc=title, unit="image", disable=hidden, leave=False)


def _decoded(shards: Iterable[list[File]], form: ImageFormat, decoders: Decoders) -> Iterator[Shard]:
    """The shards in their order. Few of them are decoded ahead, as each is in memory."""
    waiting: deque[Future[Shard]] = deque()
    for files in shards:
        waiting.append(decoders.submit(files, form))
        if len(waiting) > decoders.ahead:
            yield decoders.result(waiting.popleft())
    while waiting:
        yield decoders.result(waiting.popleft())


def _key(stream: FileStream, form: ImageFormat, most: int) -> str:
    """A hash of everything that the shards depend on."""
    if stream.version is None:
        return "unknown"
    text = json.dumps([stream.version, astuple(form), most, decoding_version()])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _finished(folder: Path, shape: tuple[int, ...]) -> list[pd.DataFrame]:
    """The rows of the shards that an earlier process has stored, as far as their images are right."""
    if not (folder / "images.npy").exists():
        return []
    found: list[pd.DataFrame] = []
    first = 0
    names = sorted(folder.glob("*.parquet"))
    expected = [folder / f"{number:06}.parquet" for number in range(len(names))]

    def read(place: Path) -> pd.DataFrame | None:
        try:
            return pd.read_parquet(place)
        except (OSError, ValueError):  # of a machine that lost its power
            return None

    with ThreadPoolExecutor(usable_cores()) as pool:
        for name, place in zip(names, expected, strict=True):
            rows = read(place) if name == place else None
            if rows is None:
                break
            sums = rows["sha256"].dropna().to_numpy()
            stored = pixels_of(folder / "images.npy", shape)[first : first + len(sums)]
            parts = np.array_split(stored, usable_cores())
            if len(stored) < len(sums) or not np.array_equal(np.concatenate(list(pool.map(sha256, parts))), sums):
                break
            found.append(rows)
            first += len(sums)
    for name in names[len(found) :]:
        name.unlink()
    return found


def _sorted(folder: Path, stream: FileStream, parts: list[pd.DataFrame], shape: tuple[int, ...]) -> Stored:
    """Rows sorted by path, and the images in their order: copied to another file where files came in another order."""
    place = folder / "images.npy"
    rows = _numbered(pd.concat(parts, ignore_index=True))
    paths = rows["path"].tolist()
    rows = rows.iloc[sorted(range(len(paths)), key=paths.__getitem__)].reset_index(drop=True)
    order = rows.loc[rows["index"] >= 0, "index"].to_numpy()
    rows = _numbered(rows)
    if (np.diff(order) < 0).any():
        place = folder / "sorted.npy"
        step = max(1, _COPIED // int(np.prod(shape)))
        with ImagesFile(place, shape) as images:
            for first in range(0, len(order), step):
                images.append(pixels_of(folder / "images.npy", shape)[order[first : first + step]])
        (folder / "images.npy").unlink()
    return Stored(place, stream.listed(rows))


def _numbered(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with the readable images numbered one after the other."""
    readable = rows["index"].to_numpy() >= 0
    return rows.assign(index=np.where(readable, np.cumsum(readable) - 1, -1))


def _count(parts: list[pd.DataFrame]) -> int:
    return sum(map(len, parts))
