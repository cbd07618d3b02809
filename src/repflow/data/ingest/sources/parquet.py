"""Parquet files that hold the bytes of the images, as the sets of the Hugging Face hub do.

Files are read in batches of rows, so that neither a file nor a row group of it stands in memory as a whole.
"""

import logging
from collections.abc import Iterator
from pathlib import PurePath
from typing import Any, Literal

import pyarrow as pa
from pyarrow import parquet

from repflow.data.ingest.decode import MAX_BYTES
from repflow.data.ingest.sources.cells import as_name, cell_text
from repflow.data.ingest.sources.class_labels import class_of
from repflow.data.ingest.sources.contract import Collected, Request
from repflow.data.ingest.sources.files import FileStream, failing, holding, too_many_bytes
from repflow.data.ingest.sources.names import as_text, unlabelled_in_name
from repflow.data.ingest.sources.parquet_columns import Columns, find_columns
from repflow.data.ingest.sources.records import Record, record_stream, version_of_places
from repflow.data.ingest.sources.shards import Shard, find_shards
from repflow.errors import DataError
from repflow.schema import parameters

_BATCH = 64
"""Rows per batch."""

log = logging.getLogger("repflow")


@parameters
class Parquet:
    """Images in one Parquet file or many. The splits are those that the names of the files or of their folders say.

    Attributes:
        path: a file, a folder of files, or a pattern such as `data/train-*.parquet`, relative to `data.root`.
        image: the column of the images, encoded in a common format: binary, or a struct with the field `bytes`. None
            for `image`, or the only such column.
        label: the column of the classes: text, or numbers, with names where the schema has some. None for `label`, or
            the only column for which the schema has names.
        group: a column of groups, which a split must not divide; None for none.
    """

    kind: Literal["parquet"]
    path: str
    image: str | None = None
    label: str | None = None
    group: str | None = None

    def collect(self, request: Request) -> Collected:
        """Every row of every file, in the natural order of their names. See `Source`."""
        return self.stream(request).collected(request.form)

    def stream(self, request: Request) -> FileStream:
        """The same, to be decoded in shards while the files are read from start to end. See `Streaming`."""
        shards = find_shards(request.root, self.path, (".parquet",), "Parquet file", request.elsewhere)
        files = [(shard, self._columns(shard)) for shard in shards]
        first, leading = files[0]
        for shard, columns in files:
            _check_alike(columns, leading, shard, first)
        if leading.unused:
            log.warning("%s: the columns %s are not used", first.name, ", ".join(map(repr, leading.unused)))
        records = (record for shard, columns in files for record in _records(shard, columns))
        return record_stream(records, version_of_places((shard.place for shard in shards), self))

    def _columns(self, shard: Shard) -> Columns:
        try:
            schema = parquet.read_schema(shard.place)
        except (pa.ArrowException, OSError) as error:
            raise _unreadable(shard, error) from error
        return find_columns(schema, self.image, self.label, self.group, str(shard.place))


def _check_alike(columns: Columns, first: Columns, shard: Shard, other: Shard) -> None:
    if columns.names != first.names or columns.image != first.image:
        what = "the images in another column" if columns.image != first.image else "other names of classes"
        raise DataError(
            f"{shard.place}: has {what} than {other.place}; give the files of one set, by its folder or a pattern"
        )
    if columns.label != first.label and not unlabelled_in_name(shard.name) and shard.split != "test":
        lacks, has = (shard, first) if columns.label is None else (other, columns)
        raise DataError(
            f"{lacks.place}: has no column {has.label!r} of classes, while others have; give the files of one set, by"
            " its folder or a pattern"
        )


def _records(shard: Shard, columns: Columns) -> Iterator[Record]:
    wanted = list(dict.fromkeys(name for name in (columns.image, columns.label, columns.group) if name))
    row = 0
    try:
        # Without pre-buffering, pages are read as they are needed instead of whole row groups.
        with parquet.ParquetFile(shard.place, buffer_size=2**20, pre_buffer=False) as file:
            digits = max(4, len(str(file.metadata.num_rows - 1)))
            for batch in file.iter_batches(_BATCH, columns=wanted):
                for values in batch.to_pylist():
                    yield _record(shard, columns, values, row, f"{shard.name}/{row:0{digits}}")
                    row += 1
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(shard, error, f" after row {row:,}") from error


def _record(shard: Shard, columns: Columns, values: dict[str, Any], row: int, path: str) -> Record:
    image = values[columns.image]
    given = image.get("path") if isinstance(image, dict) else None
    content = image.get("bytes") if isinstance(image, dict) else image
    name = PurePath(as_text(given).replace("\\", "/")).name if isinstance(given, str) else ""
    if content is None:
        read = failing(
            f"the file has only its path, {name!r}, not its bytes" if name else "there is no image in this row"
        )
    else:
        read = holding(content) if len(content) <= MAX_BYTES else failing(too_many_bytes(len(content)))
    where = f"{shard.place}: row {row + 1}"
    label = None if columns.label is None or unlabelled_in_name(shard.name) else values[columns.label]
    group = cell_text(values[columns.group]) if columns.group else None
    return Record(
        path=f"{path}/{name}" if name else path,
        content=read,
        size=len(content or b""),
        given_class=class_of(label, columns.names, where),
        split=shard.split,
        group=as_name(group) if group else None,
    )


def _unreadable(shard: Shard, error: Exception, where: str = "") -> DataError:
    said = " ".join(str(error).split())
    return DataError(f"{shard.place}: not a readable Parquet file{where} ({said}); download it again")
