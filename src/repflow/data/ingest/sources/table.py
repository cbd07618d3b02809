"""A table of image files: CSV or Parquet with the columns path, label, split and group."""

import functools
from typing import Literal

import pandas as pd

from repflow.data.ingest.sources.contract import Collected, Request
from repflow.data.ingest.sources.files import File, FileStream, OnDisk, place_stamp, version_of
from repflow.data.ingest.sources.finder import Finder
from repflow.data.ingest.sources.names import as_text
from repflow.data.ingest.sources.table_file import read_table
from repflow.errors import DataError
from repflow.schema import parameters


@parameters
class Table:
    """Image files listed in a table, one per row.

    The column `path` is required. `label`, `split` (train, val, validation, test, ...) and `group` (images that a split
    must not divide) are optional, and their cells may be empty. Other columns are named in the log and not used.

    Attributes:
        path: the table, relative to `data.root`: Parquet, or text with a header, separated by commas, semicolons, tabs
            or vertical bars.
        images: the folder that the paths in the table are relative to, itself relative to `data.root`; None for the
            folder of the table.
    """

    kind: Literal["table"]
    path: str
    images: str | None = None

    def collect(self, request: Request) -> Collected:
        """Every row of the table, in order. See `Source`."""
        return self.stream(request).collected(request.form)

    def stream(self, request: Request) -> FileStream:
        """The same, to be decoded in shards. See `Streaming`."""
        place = request.root / self.path
        table = read_table(place)
        root = (request.root / self.images if self.images is not None else place.parent).resolve()
        if not root.is_dir():
            raise DataError(f"{root}: no such folder; check `images` of the table source")
        finder = Finder(root, functools.cache(request.elsewhere))
        places = [
            finder.find(path, f"{place}: {line}") for path, line in zip(table["path"], table["line"], strict=True)
        ]
        # Files are named by row number, so that sorting restores the order of the table.
        files = [File(f"{row:012}", OnDisk(each), 2**16, place_stamp(each)) for row, each in enumerate(places)]

        def listed(rows: pd.DataFrame) -> pd.DataFrame:
            named = rows.assign(path=table["path"].map(as_text), given_class=table["label"])
            return named.assign(split=table["split"], group=table["group"])

        return FileStream(files, listed, version_of(files), movable=True)
