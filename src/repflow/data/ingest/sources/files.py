"""Files that hold one image each: decoded side by side, in the order of their paths."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from repflow.data.ingest.decode import MAX_BYTES, Decoded, Undecodable, decode, quietly
from repflow.data.ingest.resizing import Form
from repflow.data.ingest.sources.contract import Collected, listing
from repflow.errors import DataError

ENDINGS = (".png", ".jpg", ".jpeg", ".jfif", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".gif")
"""Endings of files that are read as images."""

FOREIGN_ENDINGS = (".heic", ".heif", ".avif", ".jxl", ".jp2", ".svg", ".psd", ".raw", ".dng", ".cr2", ".nef", ".arw")
"""Endings of images that cannot be read. Such files are listed as unreadable rather than passed over."""

_TASK_FILES, _TASK_BYTES = 64, 2**23


@dataclass(frozen=True)
class File:
    """A file that should hold an image.

    Attributes:
        path: as the manifest lists it, with "/" between the parts.
        content: gives the bytes, or an image that Pillow has opened; raises OSError or Undecodable where it cannot.
        size: how many bytes that is, about.
    """

    path: str
    content: Callable[[], bytes | Image.Image]
    size: int


def is_image_name(name: str) -> bool:
    """Does this name end like an image's?"""
    return name.lower().endswith(ENDINGS + FOREIGN_ENDINGS)


def is_hidden(name: str) -> bool:
    """Is this one part of a path hidden, or one of those that macOS adds to archives?"""
    return name.startswith(".") or name == "__MACOSX"


def read_content(path: Path) -> bytes:
    """The bytes of a file on disk, for `File.content`."""
    if not path.exists():
        raise Undecodable("no such file")
    if not path.is_file():
        raise Undecodable("not a file")
    if path.stat().st_size > MAX_BYTES:
        raise Undecodable(too_many_bytes(path.stat().st_size))
    return path.read_bytes()


def too_many_bytes(size: int) -> str:
    """The reason for leaving a large file unread."""
    return f"{size:,} bytes, more than the {MAX_BYTES:,} that are allowed"


def check_inside(path: Path, root: Path, shown: str) -> None:
    """Refuse a path that leads out of `root`, over a link or otherwise.

    Args:
        path: the path on disk.
        root: a folder, free of links itself.
        shown: how to call the path in the message.

    Raises:
        DataError: it does.
    """
    try:
        inside = path.resolve().is_relative_to(root)
    except (OSError, RuntimeError):  # a link that leads to itself
        inside = False
    if not inside:
        raise DataError(
            f"{shown}: leads out of {root} or nowhere; put what it should lead to into the folder, or remove it"
        )


def decode_files(files: Iterable[File], form: Form) -> Collected:
    """Decode files on all cores.

    Args:
        files: in any order.
        form: the form of the store.

    Returns:
        Images in the store's form and one row per file, both sorted by path. Classes are left open.
    """
    results: list[tuple[str, Decoded | str]] = []
    with quietly():
        for part in _in_parallel(_tasks(files), form):
            results.extend(part)
    results.sort(key=lambda result: result[0])
    rows = _listed(results)
    decoded = [result for _, result in results if isinstance(result, Decoded)]
    results.clear()
    images = np.empty((len(decoded), form.channels, form.size, form.size), np.uint8)
    while decoded:  # every image is let go as it is packed, so that they are not held twice
        image = decoded.pop()
        images[len(decoded)] = image.pixels
    return Collected(images, rows)


def _listed(results: list[tuple[str, Decoded | str]]) -> pd.DataFrame:
    readable = np.array([isinstance(result, Decoded) for _, result in results], dtype=bool)
    known = [result if isinstance(result, Decoded) else None for _, result in results]
    return listing(
        path=[_text(path) for path, _ in results],
        index=np.where(readable, np.cumsum(readable) - 1, -1),
        reason=[None if isinstance(result, Decoded) else result for _, result in results],
        width=[one.width if one else -1 for one in known],
        height=[one.height if one else -1 for one in known],
        mode=[one.mode if one else None for one in known],
        frames=[one.frames if one else -1 for one in known],
    )


def _tasks(files: Iterable[File]) -> Iterator[list[File]]:
    """Files in groups that are worth handing to a thread, and small enough to be held several at a time."""
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


def _in_parallel(tasks: Iterable[list[File]], form: Form) -> Iterator[list[tuple[str, Decoded | str]]]:
    """Results in the order of the tasks. Few tasks wait at a time, for each may hold its files' bytes."""
    threads = min(8, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    waiting: deque[Future[list[tuple[str, Decoded | str]]]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for task in tasks:
            waiting.append(pool.submit(_decode_task, task, form))
            if len(waiting) > 2 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _decode_task(task: list[File], form: Form) -> list[tuple[str, Decoded | str]]:
    return [(file.path, _decode_file(file, form)) for file in task]


def _decode_file(file: File, form: Form) -> Decoded | str:
    try:
        return decode(file.content(), form)
    except Undecodable as problem:
        return str(problem)
    except OSError as error:
        return f"cannot be read: {os.strerror(error.errno) if error.errno else error}"


def _text(path: str) -> str:
    """A path as text, also where its bytes are no UTF-8."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
