"""CIFAR-10 and CIFAR-100 in their binary version: files of records of one or two labels and 3,072 pixels.

Krizhevsky. Learning Multiple Layers of Features from Tiny Images. Technical report, University of Toronto, 2009. The
format: https://www.cs.toronto.edu/~kriz/cifar.html. The Python version is a pickle, which can run any program while it
is read, and is refused.
"""

import logging
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np
import pandas as pd

from repflow.data.ingest.sources.archive_reader import ArchiveReader
from repflow.data.ingest.sources.contract import Collected, Request, array_listing, in_order
from repflow.data.ingest.sources.folder import walk
from repflow.data.ingest.sources.names import as_text
from repflow.data.ingest.sources.selection import Selection
from repflow.errors import DataError
from repflow.schema import parameters

_SIDE = 32
_PIXELS = 3 * _SIDE * _SIDE
_PYTHON = re.compile(r"data_batch_[0-9]+|test_batch|batches\.meta|train|test|meta")
_MAX_BYTES = 2**35

log = logging.getLogger("repflow")


@dataclass(frozen=True)
class _Version:
    """The files of one of the two sets.

    Attributes:
        train: the names of the training files.
        test: the name of the test file.
        labels: which label stands at which byte of a record, with the file of its names.
    """

    train: re.Pattern[str]
    test: str
    labels: Mapping[str, tuple[int, str]]


_VERSIONS = {
    "CIFAR-10": _Version(re.compile(r"data_batch_([0-9]+)\.bin"), "test_batch.bin", {"fine": (0, "batches.meta.txt")}),
    "CIFAR-100": _Version(
        re.compile(r"train\.bin"),
        "test.bin",
        {"coarse": (0, "coarse_label_names.txt"), "fine": (1, "fine_label_names.txt")},
    ),
}


@parameters
class Cifar:
    """CIFAR-10 or CIFAR-100, binary version, with its splits.

    Attributes:
        path: the folder of the files, or the archive as it is downloaded, relative to `data.root`.
        labels: of CIFAR-100 the 100 classes or the 20 superclasses. CIFAR-10 has no superclasses.
    """

    kind: Literal["cifar"]
    path: str
    labels: Literal["fine", "coarse"] = "fine"

    def collect(self, request: Request) -> Collected:
        """Training images, then test images, each in the order of their files. See `Source`."""
        root = request.root / self.path
        files = dict(_of_archive(root) if root.is_file() else _of_folder(root, request))
        name, version = _version(set(files), root)
        if self.labels not in version.labels:
            raise DataError(f"{root}: {name} has no superclasses; set `labels: fine`")
        place, list_of_names = version.labels[self.labels]
        names = _names(files.get(list_of_names), root / list_of_names)
        parts = []
        for file in in_order(file for file in files if version.train.fullmatch(file) or file == version.test):
            images, classes = _read(files.pop(file), len(version.labels), place, names, f"{root}: {file}")
            parts.append((images, classes, "test" if file == version.test else "train", file))
        parts.sort(key=lambda part: part[2] == "test")
        rows = pd.concat([_listed(file, classes, split) for _, classes, split, file in parts], ignore_index=True)
        images = np.concatenate([images for images, *_ in parts])
        return Collected(images, rows.assign(index=np.arange(len(images))))


class _Wanted(Selection):
    """Takes the files of both versions, and of the Python version to say what it is."""

    def takes(self, path: str, start: object = None) -> bool:
        name = PurePosixPath(path).name
        known = [version for version in _VERSIONS.values() if version.train.fullmatch(name) or name == version.test]
        lists = {file for version in _VERSIONS.values() for _, file in version.labels.values()}
        if known or name in lists or _PYTHON.fullmatch(name):
            return True
        self.turns_away(path)
        return False


def _of_folder(root: Path, request: Request) -> Iterator[tuple[str, bytes]]:
    selection = _Wanted()
    found: dict[str, str] = {}
    for path, entry in walk(root, selection, request.elsewhere)[0]:
        name = PurePosixPath(path).name
        if not selection.takes(path):
            continue
        if _PYTHON.fullmatch(name):
            yield name, b""
            continue
        if name in found:
            raise DataError(f"{root}: has both {found[name]} and {as_text(path)}; give the folder of one set")
        found[name] = as_text(path)
        try:
            if entry.stat().st_size > _MAX_BYTES:
                raise DataError(f"{entry.path}: has more than {_MAX_BYTES:,} bytes")
            yield name, Path(entry.path).read_bytes()
        except OSError as error:
            raise DataError(f"{entry.path}: cannot be read ({os.strerror(error.errno or 0)})") from error
    selection.report(root.name, "files that are not of CIFAR")


def _of_archive(place: Path) -> Iterator[tuple[str, bytes]]:
    selection = _Wanted()
    found: set[str] = set()
    for file in ArchiveReader(place, 10_000, _MAX_BYTES, 1000, selection):
        name = PurePosixPath(file.path).name
        if _PYTHON.fullmatch(name):
            yield name, b""
            continue
        if name in found:
            raise DataError(f"{place}: has two files {name}; give the archive of one set")
        found.add(name)
        content = file.content()
        assert isinstance(content, bytes)
        yield name, content
    selection.report(place.name, "files that are not of CIFAR")


def _check_no_pickle(names: set[str], root: Path) -> None:
    pickles = sorted(filter(_PYTHON.fullmatch, names))
    if pickles:
        raise DataError(
            f"{root}: {pickles[0]} is of the Python version of CIFAR, a pickle, which can run any program while it is"
            " read; give the binary version (cifar-10-binary.tar.gz or cifar-100-binary.tar.gz), or use"
            " `kind: torchvision`, which checks the file's checksum first"
        )


def _version(files: set[str], root: Path) -> tuple[str, _Version]:
    found = {
        name: sorted(file for file in files if version.train.fullmatch(file) or file == version.test)
        for name, version in _VERSIONS.items()
    }
    present = [name for name, names in found.items() if names]
    if len(present) > 1:
        raise DataError(f"{root}: has the files of {' and of '.join(present)}; give the folder of one of them")
    if not present:
        _check_no_pickle(files, root)
        raise DataError(
            f"{root}: has no files of CIFAR's binary version (data_batch_1.bin to data_batch_5.bin and test_batch.bin,"
            " or train.bin and test.bin)"
        )
    version = _VERSIONS[present[0]]
    numbers = {int(match[1]) for file in files if (match := version.train.fullmatch(file)) and match.groups()}
    missing = [f"data_batch_{number}.bin" for number in range(1, max(numbers, default=0)) if number not in numbers]
    missing += [] if version.test in files else [version.test]
    missing += [] if any(map(version.train.fullmatch, files)) else ["the training images"]
    if missing:
        raise DataError(f"{root}: {', '.join(missing)} missing; complete the download")
    return present[0], version


def _names(content: bytes | None, place: Path) -> list[str] | None:
    if content is None:
        log.warning("%s: is not there, so that the classes are numbers", place)
        return None
    return [
        as_text(line.strip()) for line in content.decode("utf-8-sig", "surrogateescape").splitlines() if line.strip()
    ]


def _read(
    content: bytes, labels: int, place: int, names: list[str] | None, where: str
) -> tuple[np.ndarray, list[str | None]]:
    """The images uint8 [N, 3, 32, 32] of one file, and their classes.

    Args:
        content: N records of `labels` bytes and 3,072 pixels: red, green, blue, each row by row.
        labels: labels of a record.
        place: which of them is wanted.
        names: of the classes; None where the numbers are the names.
        where: the file, for messages.
    """
    size = labels + _PIXELS
    if not content or len(content) % size:
        raise DataError(f"{where}: has {len(content):,} bytes, which are no records of {size:,}; download it again")
    records = np.frombuffer(content, np.uint8).reshape(-1, size)
    given = records[:, place]
    if names is not None and given.max() >= len(names):
        first = int(np.argmax(given >= len(names)))
        raise DataError(
            f"{where}: record {first + 1:,} has the label {given[first]}, but there are {len(names)} names of classes"
        )
    classes: list[str | None] = [names[label] if names else str(label) for label in given.tolist()]
    return records[:, labels:].reshape(-1, 3, _SIDE, _SIDE), classes


def _listed(file: str, classes: list[str | None], split: str) -> pd.DataFrame:
    return array_listing(file, classes, _SIDE, _SIDE, "RGB").assign(split=split)
