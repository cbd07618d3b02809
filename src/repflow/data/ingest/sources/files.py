"""Image files: decoded in parallel and sorted by path, or as a stream of files that are decoded in shards."""

import functools
import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import pandas as pd
from PIL import Image

from repflow.data.ingest.decode import MAX_BYTES, Decoded, Undecodable, decode, without_decoder_warnings
from repflow.data.ingest.resizing import ImageFormat
from repflow.data.ingest.sources.contract import Collected, Elsewhere, Request, listing
from repflow.data.ingest.sources.names import as_text
from repflow.errors import DataError
from repflow.hardware.cpu import usable_cores

_TASK_FILES, _TASK_BYTES = 64, 2**23


@dataclass(frozen=True)
class File:
    """A file that should contain an image.

    Attributes:
        path: the path as the file system or archive has it, with "/" between the parts; the manifest has its text.
        content: returns the bytes, or an image that Pillow has opened; raises OSError or Undecodable on failure.
        size: the approximate number of bytes.
        stamp: what changes with the content, such as the time of the last change; for `FileStream.version`.
    """

    path: str
    content: Callable[[], bytes | Image.Image]
    size: int
    stamp: str = ""


@dataclass(frozen=True)
class FileStream:
    """The files of a source, before they are read.

    Attributes:
        files: the files in any order. Where it is not a list, they are read in turn, and each holds its bytes.
        listed: gives the listing of all files, sorted by path, its classes, splits and groups. Called once, after the
            last file was read.
        version: what changes with the content of any file, so that an interrupted ingestion can be resumed; None where
            that is not known.
        movable: whether another process can read the files.
    """

    files: Iterable[File]
    listed: Callable[[pd.DataFrame], pd.DataFrame]
    version: str | None
    movable: bool

    def collected(self, form: ImageFormat) -> Collected:
        """All images, decoded into memory."""
        decoded = decode_files(self.files, form)
        return Collected(decoded.images, self.listed(decoded.listing))


@runtime_checkable
class Streaming(Protocol):
    """A source that need not be held in memory. Every source has `collect`; of these, `ingest` calls `stream`."""

    def stream(self, request: Request) -> FileStream:
        """The files of the source.

        Raises:
            DataError: the source cannot be read at all. A single unreadable file is listed with the reason instead.
        """
        ...


def version_of(files: Iterable[File]) -> str:
    """What changes with a file's path, size or stamp, and with their order."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(repr((file.path, file.size, file.stamp)).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def stamp_of(status: os.stat_result) -> str:
    """What changes when a file on disk is changed or replaced."""
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ino}"


def place_stamp(place: Path) -> str:
    """The place, and what changes with the content there."""
    return f"{place} {stamp_of(place.stat()) if place.exists() else ''}"


@dataclass(frozen=True)
class OnDisk:
    """`File.content` of a file on disk; any process that sees the file can call it."""

    path: Path

    def __call__(self) -> bytes:
        """The bytes."""
        return self.checked().read_bytes()

    def checked(self) -> Path:
        """The path of a file that is there and not too large.

        Raises:
            Undecodable: it is not.
        """
        if not self.path.exists():
            raise Undecodable("no such file")
        if not self.path.is_file():
            raise Undecodable("not a file")
        if self.path.stat().st_size > MAX_BYTES:
            raise Undecodable(too_many_bytes(self.path.stat().st_size))
        return self.path


def too_many_bytes(size: int) -> str:
    """The reason that is given for a file that is too large."""
    return f"{size:,} bytes, more than the limit of {MAX_BYTES:,}"


def holding(content: bytes) -> Callable[[], bytes]:
    """`File.content` of a file that is in memory."""
    return lambda: content


def failing(reason: str) -> Callable[[], bytes]:
    """`File.content` of a file that cannot be read; any process can call it."""
    return functools.partial(_fail, reason)


def _fail(reason: str) -> bytes:
    raise Undecodable(reason)


def check_inside(path: Path, root: Path, elsewhere: Elsewhere, shown: str) -> None:
    """Check that a path does not lead out of `root`, by a symbolic link or otherwise.

    Args:
        path: the path on disk.
        root: a folder without symbolic links in its own path.
        elsewhere: the folders outside of `root` that a link may lead to.
        shown: the path as the error message should show it.

    Raises:
        DataError: the path leads out of `root`, and is not a link to a place that `elsewhere` allows.
    """
    try:
        end = path.resolve()
    except (OSError, RuntimeError):  # a link to itself
        allowed = False
    else:
        # Without links, the path itself must stay inside: `../other` is no link to a place that is allowed.
        is_link = Path(os.path.normpath(path)).is_relative_to(root)
        allowed = end.is_relative_to(root) or (is_link and any(map(end.is_relative_to, elsewhere(root))))
    if not allowed:
        raise DataError(f"{shown}: leads out of {root} or nowhere; copy its target into the folder, or remove it")


def decode_files(files: Iterable[File], form: ImageFormat) -> Collected:
    """Decode files on all cores.

    Args:
        files: the files, in any order.
        form: the image format of the store.

    Returns:
        Images in the store's format and one row per file, both sorted by path, without classes.
    """
    with without_decoder_warnings():
        return decode_in_threads(files, form, min(8, usable_cores()))


def decode_in_threads(files: Iterable[File], form: ImageFormat, threads: int) -> Collected:
    """As `decode_files`, in so many threads; Pillow may warn of unusual files."""
    results: list[tuple[str, Decoded | str]] = []
    for part in _in_parallel(_tasks(files), form, threads):
        results.extend(part)
    results.sort(key=lambda result: result[0])
    rows = _listed(results)
    decoded = [result for _, result in results if isinstance(result, Decoded)]
    results.clear()
    images = np.empty((len(decoded), form.channels, form.size, form.size), np.uint8)
    while decoded:  # each image is freed as soon as it is copied, so that they are not in memory twice
        image = decoded.pop()
        images[len(decoded)] = image.pixels
    return Collected(images, rows)


def _listed(results: list[tuple[str, Decoded | str]]) -> pd.DataFrame:
    readable = np.array([isinstance(result, Decoded) for _, result in results], dtype=bool)
    known = [result if isinstance(result, Decoded) else None for _, result in results]
    return listing(
        path=[path for path, _ in results],
        index=np.where(readable, np.cumsum(readable) - 1, -1),
        reason=[None if isinstance(result, Decoded) else result for _, result in results],
        width=[one.width if one else -1 for one in known],
        height=[one.height if one else -1 for one in known],
        mode=[one.mode if one else None for one in known],
        frames=[one.frames if one else -1 for one in known],
    )


def _tasks(files: Iterable[File]) -> Iterator[list[File]]:
    """Files in groups that are large enough for one thread task, and small enough to keep several in memory."""
    group: list[File] = []
    size = 0
    for file in files:
        group.append(file)
        size += file.size
        if len(group) >= _TASK_FILES or size >= _TASK_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group


def _in_parallel(
    tasks: Iterable[list[File]], form: ImageFormat, threads: int
) -> Iterator[list[tuple[str, Decoded | str]]]:
    """Results in the order of the tasks. Few tasks are queued at a time, as each may hold the bytes of its files."""
    waiting: deque[Future[list[tuple[str, Decoded | str]]]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for task in tasks:
            waiting.append(pool.submit(_decode_task, task, form))
            if len(waiting) > 2 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _decode_task(task: list[File], form: ImageFormat) -> list[tuple[str, Decoded | str]]:
    return [(as_text(file.path), _decode_file(file, form)) for file in task]


def _decode_file(file: File, form: ImageFormat) -> Decoded | str:
    try:
        return decode(file.content(), form)
    except Undecodable as problem:
        return str(problem)
    except OSError as error:
        return f"cannot be read: {os.strerror(error.errno) if error.errno else error}"
