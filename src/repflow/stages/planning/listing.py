"""The files of a source before anything is decoded: how many there are, and their classes, splits and groups."""

import time
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from repflow.data.ingest.sources.blended import Blended, repeat_listing
from repflow.data.ingest.sources.contract import Request, listing
from repflow.data.ingest.sources.files import File, FileStream, Streaming
from repflow.data.ingest.sources.names import as_text
from repflow.data.ingest.sources.torchvision import Torchvision
from repflow.data.read.memory_mapped import evenly_spaced
from repflow.errors import DataError

_SECONDS = 5.0
"""Most seconds that a source is read for, where it has to be read to be counted."""


_SAMPLE = 128
"""Files that are kept to time how long it takes to decode one."""


@dataclass(frozen=True)
class Listed:
    """A source that was listed.

    Attributes:
        rows: one row per file with the columns of a listing, as if all were readable.
        sample: some of the files to decode; none where the images come as an array.
    """

    rows: pd.DataFrame
    sample: list[File]


def list_source(source: object, request: Request, domain: str) -> Listed:
    """List a source without decoding it.

    Args:
        source: of `data.source` or `data.target`.
        request: as for `ingest`.
        domain: "source" or "target".

    Raises:
        DataError: the source cannot be read, or must be read as a whole to be counted and is too large for that.
    """
    if isinstance(source, Blended):
        front = list_source(source.foreground, request, domain)
        return Listed(repeat_listing(front.rows, source.copies), front.sample)
    if not isinstance(source, Streaming):
        return Listed(source.collect(request).listing, [])  # type: ignore[attr-defined]
    stream = source.stream(request)
    if not isinstance(stream.files, list):
        files = _read(stream.files, domain)
        return Listed(stream.listed(_rows(files)), files[:_SAMPLE])
    rows = _with_classes_of_loaded(stream) if isinstance(source, Torchvision) else stream.listed(_rows(stream.files))
    return Listed(rows, [stream.files[place] for place in evenly_spaced(len(stream.files), _SAMPLE)])


def _rows(files: list[File]) -> pd.DataFrame:
    rows = listing([as_text(file.path) for file in files], index=np.arange(len(files)))
    return rows.sort_values("path", ignore_index=True).assign(index=np.arange(len(files)))


def _read(files: Iterable[File], domain: str) -> list[File]:
    """The files of a source that is read from its start to its end."""
    began, found = time.monotonic(), []
    for file in files:
        found.append(file if len(found) < _SAMPLE else File(file.path, bytes, file.size))  # not all in memory
        if time.monotonic() - began > _SECONDS:
            raise DataError(
                f"data.{domain}: has to be read to its end to be counted, which takes too long for a plan; make its"
                f" store first, with `dvc repro ingest@{domain}`"
            )
    return found


def _with_classes_of_loaded(stream: FileStream) -> pd.DataFrame:
    """The rows of a data set whose classes are known only of the images that were loaded.

    Images that are not loaded in time count to the class of the one before them.
    """
    began, loaded = time.monotonic(), 0
    files = list(stream.files)
    step = max(1, len(files) // 2000)
    order = [place for first in range(step) for place in range(first, len(files), step)]
    for place in order:
        files[place].content()
        loaded += 1
        if time.monotonic() - began > _SECONDS:
            break
    rows = stream.listed(_rows(files))
    return rows if loaded == len(files) else rows.assign(given_class=rows["given_class"].ffill())
