"""Output formats for rows: a table for the terminal, CSV, JSON."""

import csv
import io
import json
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any


def as_csv(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """Rows as CSV with the header `columns`; None is an empty cell."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def as_json(rows: Iterable[Mapping[str, Any]]) -> str:
    """Rows as a JSON list, one per line."""
    lines = (json.dumps(row, ensure_ascii=False) for row in rows)
    return "[\n  " + ",\n  ".join(lines) + "\n]\n"


def as_table(columns: Sequence[str], lines: Iterable[Sequence[str]], numeric: Collection[str]) -> str:
    """Lines of cells with the header `columns`, as wide as the terminal; `numeric` columns are right-aligned."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    shown = Table(box=None, pad_edge=False)
    for name in columns:
        shown.add_column(name, justify="right" if name in numeric else "left", overflow="fold")
    for line in lines:
        shown.add_row(*(Text(cell) for cell in line))
    text = io.StringIO()
    Console(file=text, width=None if sys.stdout.isatty() else 200).print(shown)
    return text.getvalue()
