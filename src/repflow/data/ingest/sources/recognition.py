"""What a folder looks like that was given to the wrong kind of source, so that a message can name the right one."""

import json
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import pyarrow as pa
from pyarrow import parquet

from repflow.data.ingest.sources.cells import header_text
from repflow.data.ingest.sources.class_labels import LIKE_LABEL
from repflow.data.ingest.sources.names import as_text

METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
"""Names of the files that list the images of a Hugging Face image folder."""

FILE_NAME = "file_name"
"""Their column of paths."""

TARS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
"""Endings of tar files, in lower case."""

_START_BYTES = 2**16
_FORMS = (
    (r".*\.parquet", "Parquet files: choose data=parquet, or `kind: parquet`, if they hold the images"),
    (
        rf".*({'|'.join(map(re.escape, TARS))})",
        "tar files: choose data=webdataset, or `kind: webdataset`, for shards of samples, and `kind: archive` for one"
        " archive of folders",
    ),
    (
        r"(data_batch_[0-9]+|test_batch|train|test)\.bin",
        "files of CIFAR's binary version: choose data=cifar_binary, or `kind: cifar`",
    ),
    (
        r"data_batch_[0-9]+|test_batch|batches\.meta",
        "files of CIFAR's Python version: download the binary version for data=cifar_binary",
    ),
    (r".*-idx[13]-ubyte(\.gz)?", "IDX files: write `kind: idx`"),
)


def is_metadata(name: str) -> bool:
    """Is this the path of a file that lists images?"""
    return PurePosixPath(name).name.casefold() in METADATA


def form_of(names: Sequence[str]) -> str | None:
    """What files without an image among them are, and which choice reads them; None where that is not known."""
    for pattern, said in _FORMS:
        if any(re.fullmatch(pattern, PurePosixPath(name).name, re.IGNORECASE) for name in names):
            return said
    return None


def labelling_metadata(root: Path, names: Sequence[str]) -> str | None:
    """The first of these files below `root` that lists file names and classes of images; None for no such file."""
    for name in sorted(filter(is_metadata, names)):
        columns = _columns(root / name)
        if FILE_NAME in columns and columns & {"label", *LIKE_LABEL}:
            return as_text(name)
    return None


def _columns(place: Path) -> set[str]:
    """The names of the columns of a metadata file; none where it cannot be read."""
    try:
        if place.suffix.lower() == ".parquet":
            return set(map(header_text, parquet.read_schema(place).names))
        with place.open("rb") as file:
            content = file.read(_START_BYTES)
        encoding = "utf-16" if content.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
        line = content.decode(encoding, "replace").lstrip().split("\n", 1)[0]
        if place.suffix.lower() == ".jsonl":
            values = json.loads(line)
            return set(map(header_text, values)) if isinstance(values, dict) else set()
        return set(map(header_text, re.split(r"[,;\t|]", line)))
    except (OSError, ValueError, pa.ArrowException):
        return set()
