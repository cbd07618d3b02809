"""A table of image files: CSV or Parquet with the columns path, label, split and group."""

import functools
import os
from pathlib import Path, PurePosixPath
from typing import Literal

import pandas as pd

from repflow.data.ingest.sources.contract import Collected, Elsewhere, Request
from repflow.data.ingest.sources.files import File, FileStream, check_inside, read_content, stamp_of, version_of
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
        finder = _Finder(root, functools.cache(request.elsewhere))
        places = [
            finder.find(path, f"{place}: {line}") for path, line in zip(table["path"], table["line"], strict=True)
        ]
        # Files are named by row number, so that sorting restores the order of the table.
        files = [
            File(f"{row:012}", functools.partial(read_content, each), 2**16, _stamp(each))
            for row, each in enumerate(places)
        ]

        def listed(rows: pd.DataFrame) -> pd.DataFrame:
            named = rows.assign(path=table["path"].map(as_text), given_class=table["label"])
            return named.assign(split=table["split"], group=table["group"])

        return FileStream(files, listed, version_of(files), movable=True)


def _stamp(place: Path) -> str:
    """The place, and what changes with the content there."""
    return f"{place} {stamp_of(place.stat()) if place.exists() else ''}"


class _Finder:
    """Finds the files of a table on disk, also where a name is spelt in another Unicode form there."""

    def __init__(self, root: Path, elsewhere: Elsewhere) -> None:
        self._root, self._elsewhere = root, elsewhere
        self._names: dict[Path, dict[str, str]] = {}

    def find(self, path: str, where: str) -> Path:
        """The place of `path` on disk, or where it would be.

        Raises:
            DataError: the path leads out of the root.
        """
        shown = f"{where}: {as_text(path)}"
        for spelling in (path, path.replace("\\", "/")):
            found = self._root / spelling
            self._check(found, shown)
            if not os.path.lexists(found):
                found = self._respelt(spelling)
                self._check(found, shown)
            if found.exists():
                return found
        return self._root / path

    def _check(self, place: Path, shown: str) -> None:
        check_inside(place, self._root, self._elsewhere, shown)

    def _respelt(self, path: str) -> Path:
        """The path with every part as it is spelt on disk, where a part has the same text there."""
        found = self._root
        for part in PurePosixPath(path).parts:
            found = found / self._spellings(found).get(as_text(part), part)
        return found

    def _spellings(self, folder: Path) -> dict[str, str]:
        """The names in a folder by their text."""
        if folder not in self._names:
            try:
                self._names[folder] = {as_text(name): name for name in os.listdir(folder)}
            except OSError:
                self._names[folder] = {}
        return self._names[folder]
