"""Records of what was measured: made section by section, kept in git, and read again to write a page."""

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from speed.targets import Record


def add_options(parser: argparse.ArgumentParser, sections: Sequence[str]) -> None:
    """Let a command be asked for some of its sections, and for where records and tables go."""
    parser.add_argument("--only", nargs="+", choices=sections, default=list(sections), help="sections; default: all")
    parser.add_argument("--json", type=Path, help="where the record goes")
    parser.add_argument("--markdown", type=Path, help="a page whose marked blocks are filled with the tables")
    parser.add_argument("--read", type=Path, nargs="+", help="records of earlier runs, rather than measuring")


def command_line(script: str, arguments: Sequence[str]) -> str:
    """The command that makes a record, which is kept in git: it does not tell where things are on this machine."""
    shown = [Path(argument).name if Path(argument).is_absolute() else argument for argument in arguments]
    return " ".join(["python", f"benchmarks/{script}", *shown])


def complete(record: Record, sections: Mapping[str, Callable[[], Any]], file: Path | None) -> Record:
    """Measure section by section.

    Args:
        record: what is known before.
        sections: name to what measures it.
        file: where the record goes after every section, so that a run that is cut short leaves what it has.
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
