"""Throughput of repflow and of other implementations, measured in one run: `python benchmarks/throughput.py`.

Every section compares several implementations of the same task, on the same images, with the same encoder and batch
size, in alternating rounds. `--markdown docs/performance.md` writes the tables between the markers of that page, and
`--read` writes them from the records of earlier runs without measuring.
"""

import argparse
import functools
import importlib
import sys
from pathlib import Path
from typing import Any

from repflow.hardware.cpu import pin
from speed import machine, records, tables, targets
from speed.images import load
from speed.settings import Settings

SECTIONS = ("augmentation", "simclr", "fixmatch", "ingest", "knn", "scaling", "threads", "profile")


def main(arguments: list[str]) -> None:
    """Measure and write."""
    options = parser().parse_args(arguments)
    if options.read:
        found = records.read(options.read)
    else:
        command = records.command_line("throughput.py", arguments)
        found = [measure(settings_of(options), options.only, command, options.json)]
    written = tables.blocks(found)
    if options.markdown:
        tables.fill(options.markdown, written)
    else:
        print("\n".join(written.values()))


def measure(settings: Settings, sections: list[str], command: str, file: Path | None) -> targets.Record:
    """The record of one run: the machine, the settings and the results of each section.

    Args:
        settings: the settings of the benchmark.
        sections: names of the sections to measure.
        command: the command line, for the record.
        file: the file that the record is written to.
    """
    pin(settings.instructions)  # before PyTorch is imported
    images = load(settings.data, settings.images, settings.size)
    record: targets.Record = {"command": command, "machine": machine.describe(settings)}
    record["images"] = {"count": len(images), "origin": images.origin, "size": settings.size}
    record |= {"repeats": settings.repeats, "seconds": settings.seconds}

    def section(name: str) -> Any:
        return importlib.import_module(f"speed.{name}").measure(settings, images)

    return records.complete(record, {name: functools.partial(section, name) for name in sections}, file)


def settings_of(options: argparse.Namespace) -> Settings:
    """The settings that the command-line options give."""
    names = ("repeats", "seconds", "device", "batch", "images", "data", "encoders")
    given = {name: getattr(options, name) for name in (*names, "threads", "workers", "instructions")}
    return Settings(**{name: value for name, value in given.items() if value is not None})


def parser() -> argparse.ArgumentParser:
    """The parser of the command-line options."""
    plain = Settings()
    made = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    records.add_options(made, SECTIONS)
    made.add_argument(
        "--repeats", type=int, default=plain.repeats, help="rounds; each implementation runs once a round"
    )
    made.add_argument("--seconds", type=float, default=plain.seconds, help="seconds per implementation and round")
    made.add_argument("--data", type=Path, help="a folder of class folders, an archive of one, or MNIST's folder")
    made.add_argument("--images", type=int, default=plain.images, help="number of images")
    made.add_argument("--device", choices=("cpu", "cuda"), default=plain.device)
    made.add_argument("--encoders", nargs="+", choices=("small", "resnet18"), default=plain.encoders)
    made.add_argument("--batch", type=int, help="batch size; default: each section has its own")
    made.add_argument("--threads", type=int, help="PyTorch threads; default: all cores")
    made.add_argument("--instructions", choices=("avx2", "native"), default=plain.instructions)
    made.add_argument("--workers", type=int, help="DataLoader workers of other implementations; default: all cores")
    return made


if __name__ == "__main__":
    main(sys.argv[1:])
