"""Records of measurements: written section by section, kept in git, and read again to write a page."""

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from speed.targets import Record


def add_options(parser: argparse.ArgumentParser, sections: Sequence[str]) -> None:
    """Add the options for sections, records and tables."""
    parser.add_argument("--only", nargs="+", choices=sections, default=list(sections), help="sections; default: all")
    parser.add_argument("--json", type=Path, help="file to write the record to")
    parser.add_argument("--markdown", type=Path, help="page with marked blocks to fill with the tables")
    parser.add_argument("--read", type=Path, nargs="+", help="read records of earlier runs instead of measuring")


def command_line(script: str, arguments: Sequence[str]) -> str:
    """The command line for the record, without absolute paths, because records are kept in git."""
    shown = [Path(argument).name if Path(argument).is_absolute() else argument for argument in arguments]
    return " ".join(["python", f"benchmarks/{script}", *shown])


def complete(record: Record, sections: Mapping[str, Callable[[], Any]], file: Path | None) -> Record:
    """Measure section by section.

    Args:
        record: the record before any section.
        sections: name of each section to the function that measures it.
        file: file that the record is written to after every section, so that an interrupted run keeps its results.
    """
    record["sections"] = {}
    for name, measure in sections.items():
        print(f"{name} ...", file=sys.stderr, flush=True)
        record["sections"][name] = measure()
        if file:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return record


def read(files: Sequence[Path]) -> list[Record]:
    """Records of earlier runs."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in files]
