"""Reads a table of image files, CSV, JSON lines or Parquet, and refuses what cannot be meant, with the line."""

import csv
import difflib
import io
import json
import logging
import posixpath
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from repflow.data.ingest.sources.cells import as_name, cell_text, header_text
from repflow.data.ingest.sources.class_labels import LIKE_LABEL, Names, class_of, numbered
from repflow.data.ingest.sources.hub_features import class_names, image_features, is_image
from repflow.data.ingest.sources.names import SPLITS, as_text, split_named
from repflow.errors import DataError

COLUMNS = ("path", "label", "split", "group")

_MEANT = {
    "path": (
        "file",
        "file_name",
        "file_path",
        "filename",
        "filepath",
        "image",
        "image_path",
        "img",
        "img_path",
        "path",
    ),
    "label": LIKE_LABEL,
    "split": ("partition", "set", "subset"),
    "group": ("group_id",),
}
"""Names of columns that probably mean one of `COLUMNS`."""

_DELIMITERS = ",;\t|"
_PACKED = (b"\x1f\x8b", b"PK\x03\x04", b"BZh", b"\xfd7zXZ")

log = logging.getLogger("repflow")


def read_table(place: Path, path: str = "path", label: str = "label") -> pd.DataFrame:
    """The columns path, label, split and group of a table as text, None for empty cells, and `line`, for messages.

    Paths are as the table has them, with bytes that are not UTF-8 as surrogate escapes; labels and groups are text.

    Args:
        place: the table.
        path: what the table calls the column of the paths.
        label: what it calls the column of the classes. The table must have it unless it is "label".

    Raises:
        DataError: there is no such table, it has no rows or no column of paths, a row has more or fewer cells than the
            header, a column has almost the name of one that is missing, a path is empty or listed twice, a cell holds
            several values, or a split is unknown.
    """
    if not place.is_file():
        raise DataError(f"{place}: no such table; check `data.root` and the `path` of the source")
    called = dict(zip(COLUMNS, (header_text(path), header_text(label), "split", "group"), strict=True))
    names: Names | None = None
    try:
        with place.open("rb") as file:
            is_parquet = file.read(4) == b"PAR1" or place.suffix.lower() == ".parquet"
        if is_parquet:
            given, lines, names = _parquet(place, called)
        else:
            given, lines = _json_lines(place, called) if place.suffix.lower() == ".jsonl" else _csv(place, called)
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(f"{place}: not a readable CSV or Parquet table ({error})") from error
    if given.empty:
        raise DataError(f"{place}: has no rows; list at least one image")
    has = [name for name in COLUMNS if called[name] in given.columns]
    columns = {name: given[called[name]].tolist() for name in has}
    for name in has:
        _check_single(columns[name], called[name], lines, place)
    cells = {name: [cell_text(cell) for cell in columns[name]] if name in has else None for name in COLUMNS}
    table = pd.DataFrame({**cells, "line": lines}, index=range(len(given)), dtype=object)
    _check_cells(table, called, place)
    if "label" in has:
        pairs = zip(columns["label"], lines, strict=True)
        table["label"] = pd.Series([class_of(value, names, f"{place}: {line}") for value, line in pairs], dtype=object)
    table["group"] = table["group"].map(as_name, na_action="ignore")
    return table.assign(split=table["split"].map(split_named, na_action="ignore"))


def _parquet(place: Path, called: Mapping[str, str]) -> tuple[pd.DataFrame, list[str], Names | None]:
    """A Parquet table, what messages call each of its rows, and the names of its classes."""
    schema = parquet.read_schema(place)
    images = image_features(schema) or [each.name for each in schema if is_image(each.type)]
    if images and called["path"] not in map(header_text, schema.names):
        raise DataError(f"{place}: holds the images themselves, not their paths; choose data=parquet")
    names = {header_text(name): numbered(each) for name, each in class_names(schema).items()}
    table = pd.read_parquet(place)
    if any(table.index.names):
        table = table.reset_index()
    table.columns = pd.Index([header_text(name) for name in table.columns])
    _check_columns(list(table.columns), called, place)
    return table, [f"row {number}" for number in range(1, len(table) + 1)], names.get(called["label"])


def _json_lines(place: Path, called: Mapping[str, str]) -> tuple[pd.DataFrame, list[str]]:
    """The values of one JSON object a line, and what messages call each of them."""
    rows: list[dict[str, Any]] = []
    lines: list[str] = []
    keys: dict[str, str] = {}
    for number, line in enumerate(_decoded(place).split("\n"), 1):
        if not line.strip():
            continue
        try:
            values = json.loads(line)
        except ValueError as error:
            raise DataError(f"{place}: line {number}: is no JSON ({error}); write one object a line") from error
        if not isinstance(values, dict):
            raise DataError(f'{place}: line {number}: is no object; write one object a line, as in {{"path": "1.png"}}')
        keys |= {key: header_text(key) for key in values if key not in keys}
        rows.append({keys[key]: value for key, value in values.items() if keys[key] in called.values()})
        lines.append(f"line {number}")
    if not rows:
        raise DataError(f"{place}: has no rows; list at least one image")
    _check_columns(list(keys.values()), called, place)
    wanted = dict.fromkeys(keys.values())
    return pd.DataFrame(rows, columns=pd.Index(list(wanted)), dtype=object), lines


def _csv(place: Path, called: Mapping[str, str]) -> tuple[pd.DataFrame, list[str]]:
    """The cells of a CSV file as text, and what messages call each of its rows. Rows of empty cells are left out."""
    text = _decoded(place)
    delimiter = _delimiter(re.split("[\r\n]", text.lstrip(), maxsplit=1)[0], called["path"])
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True)
    rows, lines = [], []
    header: list[str] = []
    try:
        for row in reader:
            if not any(cell.strip() for cell in row):
                continue
            if not header:
                header = [header_text(cell) for cell in row]
                _check_columns(header, called, place)
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


def _delimiter(header: str, path: str) -> str:
    """What separates the cells of a header: that which isolates the column of paths, else that which occurs most."""
    counts = {each: header.count(each) for each in _DELIMITERS}
    isolating = [each for each in counts if path in map(header_text, header.split(each))]
    return max(isolating or counts, key=lambda each: counts[each])


def _check_columns(given: Sequence[str], called: Mapping[str, str], place: Path) -> None:
    for role, name in called.items():
        if given.count(name) > 1:
            raise DataError(f"{place}: there are {given.count(name)} columns {name!r}; keep one of them")
        if name in given:
            continue
        others = sorted(set(given) - set(called.values()))
        known = [other for other in others if other.replace(" ", "_") in _MEANT[role]]
        meant = known or difflib.get_close_matches(name, others, n=1, cutoff=0.8)
        if role == "path" or (role == "label" and name != "label"):
            required = "required " if role == "path" else ""
            advice = f"; rename {meant[0]!r} to {name!r}" if meant else ""
            if name == "path" and "file_name" in meant:
                advice += ", or choose data=huggingface"
            raise DataError(f"{place}: the {required}column {name!r} is missing (columns: {', '.join(given)}){advice}")
        if meant:
            is_metadata = role == "label" and called["path"] == "file_name"
            advice = f", or name it, as in data.source.label={meant[0]}" if is_metadata else ""
            raise DataError(
                f"{place}: there is no column {name!r}, but {meant[0]!r}; rename it to {name!r}, or remove it{advice}"
            )
    unused = [name for name in given if name not in called.values()]
    if unused:
        log.warning("%s: the columns %s are not used", place.name, ", ".join(map(repr, unused)))


def _check_single(cells: Sequence[Any], name: str, lines: Sequence[str], place: Path) -> None:
    """Each image has one path, class, split and group."""
    for cell, line in zip(cells, lines, strict=True):
        if isinstance(cell, list | dict | np.ndarray):
            raise DataError(f"{place}: {line}: {name!r} is {cell!r:.60}; each image needs one value, or none")


def _check_cells(table: pd.DataFrame, called: Mapping[str, str], place: Path) -> None:
    empty = table.index[table["path"].isna()]
    if len(empty):
        raise DataError(f"{place}: {table['line'][empty[0]]}: {called['path']!r} is empty")
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
