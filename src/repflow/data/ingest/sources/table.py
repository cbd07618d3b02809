"""A table of image files: CSV or Parquet with the columns path, label, split and group."""

import functools
import unicodedata
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from repflow.data.ingest.sources.contract import SPLITS, Collected, Request
from repflow.data.ingest.sources.files import File, check_inside, decode_files, read_content
from repflow.errors import DataError
from repflow.schema import parameters


@parameters
class Table:
    """Image files listed in a table, one per row.

    The column `path` is required. `label`, `split` (train, val, validation or test) and `group` (images that a split
    must not divide) are optional, and their cells may be empty. Other columns are ignored.

    Attributes:
        path: the table, relative to `data.root`: a `.parquet` file, anything else is read as CSV.
        images: the folder that the paths in the table are relative to, itself relative to `data.root`; None for the
            folder of the table.
    """

    kind: Literal["table"]
    path: str
    images: str | None = None

    def collect(self, request: Request) -> Collected:
        """Every row of the table, in order. See `Source`."""
        place = request.root / self.path
        table = read_table(place)
        root = (request.root / self.images if self.images is not None else place.parent).resolve()
        if not root.is_dir():
            raise DataError(f"{root}: no such folder; check `images` of the table source")
        files = [_file(number, path, root, place) for number, path in enumerate(table["path"])]
        collected = decode_files(files, request.form)
        # Files are named by row number, so that sorting restores the order of the table.
        classes = table["label"].map(functools.partial(unicodedata.normalize, "NFC"), na_action="ignore")
        rows = collected.listing.assign(path=table["path"], given_class=classes)
        return Collected(collected.images, rows.assign(split=table["split"], group=table["group"]))


def read_table(place: Path) -> pd.DataFrame:
    """The columns path, label, split and group of a table as text, None for empty cells.

    Raises:
        DataError: there is no such table, it has no rows or no column `path`, a path is empty or a split is unknown.
    """
    if not place.is_file():
        raise DataError(f"{place}: no such table; check `data.root` and the `path` of the source")
    try:
        if place.suffix == ".parquet":
            table = pd.read_parquet(place)
        else:
            table = pd.read_csv(place, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise DataError(f"{place}: not a readable CSV or Parquet table ({error})") from error
    if "path" not in table.columns:
        given = ", ".join(map(str, table.columns))
        raise DataError(f"{place}: the required column 'path' is missing (columns: {given})")
    if table.empty:
        raise DataError(f"{place}: has no rows; list at least one image")
    names = ("path", "label", "split", "group")
    texts = {name: [_text(cell) for cell in table[name]] if name in table.columns else None for name in names}
    table = pd.DataFrame({name: texts[name] for name in names}, index=range(len(table)), dtype=object)
    _check_cells(table, place)
    return table.assign(split=table["split"].map(lambda name: SPLITS[name.casefold()], na_action="ignore"))


def _check_cells(table: pd.DataFrame, place: Path) -> None:
    empty = table.index[table["path"].isna()]
    if len(empty):
        raise DataError(f"{place}: row {empty[0] + 1}: 'path' is empty")
    given = table["split"].dropna()
    unknown = given[~given.str.casefold().isin(list(SPLITS))]
    if len(unknown):
        allowed = f"allowed: {', '.join(SPLITS)}, or empty"
        raise DataError(f"{place}: row {unknown.index[0] + 1}: {unknown.iloc[0]!r} is not a split ({allowed})")


def _text(cell: Any) -> str | None:
    """A cell as text; "3" for 3.0, because missing cells turn a column of integers into floating point."""
    if cell is None or (not isinstance(cell, str) and pd.isna(cell)):
        return None
    if isinstance(cell, float) and cell.is_integer():
        cell = int(cell)
    return str(cell).strip() or None


def _file(number: int, path: str, root: Path, place: Path) -> File:
    check_inside(root / path, root, f"{place}: row {number + 1}: {path}")
    return File(f"{number:012}", functools.partial(read_content, root / path), 2**16)
