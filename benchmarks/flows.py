"""Overhead and benefits of Prefect compared with DVC alone, measured in one run: `python benchmarks/flows.py`.

Everything runs in clones of the last commit in a temporary folder, with separate Prefect servers on free ports, which
stop with the command. `--markdown docs/flows.md` writes the tables between the markers of that page, and `--read`
writes them from the records of earlier runs without measuring.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from scheduling import cancelling, graph, isolated, pages, sleeping
from scheduling.scratch import forget_settings, server
from speed import machine, records, tables

SECTIONS = ("graph", "sleeping", "cancel", "isolated")
PACKAGES = ("prefect", "dvc")


def main(arguments: Sequence[str]) -> None:
    """Measure, or read records, and write the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    records.add_options(parser, SECTIONS)
    parser.add_argument("--repeats", type=int, default=3, help="rounds of sections that take about a minute")
    parser.add_argument(
        "--long-repeats", type=int, default=1, help="rounds of the default pipeline, eight minutes each"
    )
    parser.add_argument("--runs", type=int, default=isolated.RUNS, help="isolated runs to queue")
    options = parser.parse_args(arguments)
    if options.read:
        found = records.read(options.read)
    else:
        command = records.command_line("flows.py", arguments)
        found = [measure(options, {"command": command, "machine": machine.known(PACKAGES)})]
    written = pages.blocks(found)
    if options.markdown:
        tables.fill(options.markdown, written)
    else:
        print("\n".join(written.values()))


def measure(options: argparse.Namespace, record: dict[str, Any]) -> dict[str, Any]:
    """Measure the selected sections, and return the completed record."""
    forget_settings()
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)

        def served(section: Callable[[Path, str, int], dict[str, Any]], repeats: int) -> dict[str, Any]:
            with server(scratch / "prefect") as url:
                return section(scratch, url, repeats)

        sections: dict[str, Callable[[], Any]] = {
            "graph": lambda: served(graph.measure, options.long_repeats),
            "sleeping": lambda: served(sleeping.measure, options.repeats),
            "cancel": lambda: cancelling.measure(scratch, options.repeats),
            "isolated": lambda: isolated.measure(scratch, options.runs),
        }
        return records.complete(record, {each: sections[each] for each in options.only}, options.json)


if __name__ == "__main__":
    main(sys.argv[1:])
