"""Shards: some files of a source, decoded to images of the store and rows of its manifest by any process."""

import functools
import hashlib
import importlib.metadata
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

import repflow
from repflow import fingerprints
from repflow.data.ingest.decode import FORMATS
from repflow.data.ingest.facts import CHUNK_PIXELS, grey, image_facts
from repflow.data.ingest.resizing import ImageFormat, resize_batch
from repflow.data.ingest.sources.files import File, decode_in_threads

IMAGES = 2048
"""Most files of a shard."""

PIXELS = 2**26
"""Most bytes of a shard's images."""

CONTENT = 2**26
"""A shard is complete with so many bytes of files, where these are held in memory."""

_MISSING = {"sha256": None, "phash": 0, "dhash": 0}
"""The value of a statistic for an unreadable image, where it is not -1."""

_LIBRARIES = ("numpy", "scipy", "pillow")


@dataclass(frozen=True)
class Shard:
    """Decoded files.

    Attributes:
        rows: one row per file, with the columns of a listing and the statistics of the stored pixels; `index` counts
            the shard's own images.
        images: uint8 [n, channels, size, size], those of the readable files.
    """

    rows: pd.DataFrame
    images: np.ndarray


def files_per_shard(form: ImageFormat) -> int:
    """How many files make a shard of images of this format."""
    return max(1, min(IMAGES, PIXELS // (form.channels * form.size**2)))


def in_shards(files: Iterable[File], most: int) -> Iterator[list[File]]:
    """The files in groups of `most`, in their order; of fewer where the files that are held in memory are large."""
    group: list[File] = []
    held = 0
    for file in files:
        group.append(file)
        held += 0 if isinstance(files, list) else file.size
        if len(group) >= most or held >= CONTENT:
            yield group
            group, held = [], 0
    if group:
        yield group


def decode_shard(files: list[File], form: ImageFormat, threads: int) -> Shard:
    """Decode files and compute their statistics: a function of the files and the format, on any number of threads."""
    collected = decode_in_threads(files, form, threads)
    return Shard(with_facts(collected.listing, facts_of(collected.images, threads)), collected.images)


def to_image_format(images: np.ndarray, form: ImageFormat) -> np.ndarray:
    """Convert images uint8 [N, 1 or 3, height, width] to the image format of the store."""
    images = resize_batch(images, form.size, form.resize)
    if images.shape[1] == form.channels:
        return np.ascontiguousarray(images)
    return grey(images)[:, None] if form.channels == 1 else np.repeat(images, 3, axis=1)


def facts_of(images: np.ndarray, threads: int) -> dict[str, np.ndarray]:
    """`image_facts`, on several threads."""
    step = max(1, min(CHUNK_PIXELS // math.prod(images.shape[2:]), math.ceil(len(images) / threads)))
    parts = [images[first : first + step] for first in range(0, max(1, len(images)), step)]
    with ThreadPoolExecutor(threads) as pool:
        found = list(pool.map(image_facts, parts))
    return {name: np.concatenate([each[name] for each in found]) for name in found[0]}


def with_facts(listing: pd.DataFrame, facts: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """The listing with a column for each statistic.

    Args:
        listing: with the column `index`, the row of an image, or -1.
        facts: the statistics of all images, [N] each.
    """
    rows = listing["index"].to_numpy(np.int64)
    readable = rows >= 0
    columns: dict[str, np.ndarray] = {}
    for name, values in facts.items():
        column = np.full(len(listing), _MISSING.get(name, -1), object if values.dtype.kind == "U" else values.dtype)
        column[readable] = values[rows[readable]]
        columns[name] = column
    return listing.assign(**columns)


@functools.cache
def decoding_version() -> str:
    """What the result of `decode_shard` depends on besides its arguments: code, libraries, formats."""
    code = fingerprints.fingerprint({__name__}, fingerprints.Files(Path(repflow.__file__).parents[1]))
    libraries = {name: importlib.metadata.version(name) for name in _LIBRARIES}
    text = json.dumps([code, libraries, FORMATS], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
