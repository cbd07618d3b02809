"""Reads a table of image files, CSV or Parquet, and refuses what cannot be meant, with the line."""

import csv
import difflib
import io
import logging
import posixpath
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from repflow.data.ingest.sources.names import SPLITS, as_text, split_named
from repflow.errors import DataError

COLUMNS = ("path", "label", "split", "group")

_MEANT = {
    "path": ("file", "file_name", "file_path", "filename", "filepath", "image", "image_path", "img", "img_path"),
    "label": ("class", "class_name", "classes", "classname", "category"),
    "split": ("partition", "set", "subset"),
    "group": ("group_id",),
}
"""Names of columns that probably mean one of `COLUMNS`."""

LIKE_LABEL = _MEANT["label"]
"""Names of columns that probably have the classes."""

_DELIMITERS = ",;\t|"
_WHOLE_NUMBER = re.compile(r"([+-]?[0-9]+)\.0+")
_PACKED = (b"\x1f\x8b", b"PK\x03\x04", b"BZh", b"\xfd7zXZ")

log = logging.getLogger("repflow")


def read_table(place: Path) -> pd.DataFrame:
    """The columns path, label, split and group of a table as text, None for empty cells, and `line`, for messages.

    Paths are as the table has them, with bytes that are not UTF-8 as surrogate escapes; labels and groups are text.

    Raises:
        DataError: there is no such table, it has no rows or no column `path`, a row has more or fewer cells than the
            header, a column has almost the name of one that is missing, a path is empty or listed twice, or a split is
            unknown.
    """
    if not place.is_file():
        raise DataError(f"{place}: no such table; check `data.root` and the `path` of the source")
    try:
        with place.open("rb") as file:
            is_parquet = file.read(4) == b"PAR1" or place.suffix.lower() == ".parquet"
        given, lines = _parquet(place) if is_parquet else _csv(place)
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(f"{place}: not a readable CSV or Parquet table ({error})") from error
    if given.empty:
        raise DataError(f"{place}: has no rows; list at least one image")
    cells = {name: [cell_text(cell) for cell in given[name]] if name in given.columns else None for name in COLUMNS}
    table = pd.DataFrame({**cells, "line": lines}, index=range(len(given)), dtype=object)
    _check_cells(table, place)
    for name in ("label", "group"):
        table[name] = table[name].map(as_name, na_action="ignore")
    return table.assign(split=table["split"].map(split_named, na_action="ignore"))


def _parquet(place: Path) -> tuple[pd.DataFrame, list[str]]:
    """A Parquet table, and what messages call each of its rows."""
    table = pd.read_parquet(place)
    if any(table.index.names):
        table = table.reset_index()
    table.columns = pd.Index([header_text(name) for name in table.columns])
    _check_columns(list(table.columns), place)
    return table, [f"row {number}" for number in range(1, len(table) + 1)]


def _csv(place: Path) -> tuple[pd.DataFrame, list[str]]:
    """The cells of a CSV file as text, and what messages call each of its rows. Rows of empty cells are left out."""
    text = _decoded(place)
    delimiter = _delimiter(re.split("[\r\n]", text.lstrip(), maxsplit=1)[0])
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True)
    rows, lines = [], []
    header: list[str] = []
    try:
        for row in reader:
            if not any(cell.strip() for cell in row):
                continue
            if not header:
                header = [header_text(cell) for cell in row]
                _check_columns(header, place)
                continue
            if len(row) < len(header) or any(cell.strip() for cell in row[len(header) :]):
                raise DataError(
                    f"{place}: line {reader.line_num}: {len(row)} cells, but the header has {len(header)}; leave a cell"
                    f" without a value empty, and put one that has {delimiter!r} in it into double quotes"
                )
            rows.append(row[: len(header)])
            lines.append(f"line {reader.line_num}")
    except csv.Error as error:
        raise DataError(f"{place}: line {reader.line_num}: not readable as CSV ({error})") from error
    if not header:
        raise DataError(f"{place}: not a readable CSV or Parquet table (it is empty)")
    return pd.DataFrame(rows, columns=pd.Index(header), dtype=object), lines


def _decoded(place: Path) -> str:
    """The text of a CSV file: UTF-16 where it begins with such a mark, else UTF-8, other bytes as surrogate escapes."""
    content = place.read_bytes()
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        text = content.decode("utf-16", "replace")
    else:
        text = content.decode("utf-8-sig", "surrogateescape")
    if "\0" in text or content.startswith(_PACKED):
        raise DataError(f"{place}: not a readable CSV or Parquet table (it is not text); unpack it, or save it as CSV")
    strange = re.search("[\udc80-\udcff]", text)
    if strange:
        line = text.count("\n", 0, strange.start()) + 1
        log.warning("%s: line %d is not UTF-8; save the table as UTF-8 if names look wrong", place.name, line)
    return text


def _delimiter(header: str) -> str:
    """What separates the cells of a header: that which isolates the column `path`, else that which occurs most."""
    counts = {each: header.count(each) for each in _DELIMITERS}
    isolating = [each for each in counts if "path" in map(header_text, header.split(each))]
    return max(isolating or counts, key=lambda each: counts[each])


def header_text(name: Any) -> str:
    """The name of a column without what spreadsheets and people add to it."""
    return as_text(str(name)).replace("\ufeff", "").strip().strip("\"'").strip().casefold()


def _check_columns(given: Sequence[str], place: Path) -> None:
    for name in COLUMNS:
        if given.count(name) > 1:
            raise DataError(f"{place}: there are {given.count(name)} columns {name!r}; keep one of them")
        if name in given:
            continue
        others = sorted(set(given) - set(COLUMNS))
        known = [other for other in others if other.replace(" ", "_") in _MEANT[name]]
        meant = known or difflib.get_close_matches(name, others, n=1, cutoff=0.8)
        if name == "path":
            advice = f"; rename {meant[0]!r} to 'path'" if meant else ""
            raise DataError(f"{place}: the required column 'path' is missing (columns: {', '.join(given)}){advice}")
        if meant:
            raise DataError(
                f"{place}: there is no column {name!r}, but {meant[0]!r}; rename it to {name!r}, or remove it"
            )
    unused = [name for name in given if name not in COLUMNS]
    if unused:
        log.warning("%s: the columns %s are not used", place.name, ", ".join(map(repr, unused)))


def _check_cells(table: pd.DataFrame, place: Path) -> None:
    empty = table.index[table["path"].isna()]
    if len(empty):
        raise DataError(f"{place}: {table['line'][empty[0]]}: 'path' is empty")
    given = table["split"].dropna()
    unknown = given[given.map(split_named).isna()]
    if len(unknown):
        allowed = f"allowed: {', '.join(SPLITS)}, or empty"
        line = table["line"][unknown.index[0]]
        raise DataError(f"{place}: {line}: {unknown.iloc[0]!r} is not a split ({allowed})")
    plain = table["path"].map(lambda path: posixpath.normpath(as_text(path)))
    twice = table.index[plain.duplicated()]
    if len(twice):
        first = table["line"][plain.index[plain == plain[twice[0]]][0]]
        raise DataError(
            f"{place}: {table['line'][twice[0]]}: {plain[twice[0]]} is listed in {first} already"
            f" ({len(twice)} such rows); list every image once"
        )


def cell_text(cell: Any) -> str | None:
    """A cell as text, None where it is empty."""
    if isinstance(cell, bytes):
        cell = cell.decode("utf-8", "surrogateescape")
    if cell is None or (not isinstance(cell, str) and pd.isna(cell)):
        return None
    return str(cell).strip() or None


def as_name(cell: str) -> str:
    """The name of a class or group; "3" for "3.0", because missing cells turn whole numbers into floating point."""
    number = _WHOLE_NUMBER.fullmatch(cell)
    return number[1] if number else as_text(cell)
