"""Cells and headers of tables as text."""

import re
from typing import Any

import pandas as pd

from repflow.data.ingest.sources.names import as_text

_WHOLE_NUMBER = re.compile(r"([+-]?[0-9]+)\.0+")


def header_text(name: Any) -> str:
    """The name of a column without what spreadsheets and people add to it."""
    return as_text(str(name)).replace("\ufeff", "").strip().strip("\"'").strip().casefold()


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
