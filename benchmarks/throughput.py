"""How fast repflow is beside its rivals, all in one run: `python benchmarks/throughput.py`.

Every section holds several ways of doing the same work against each other, on the same images, with the same encoder
and batch size, in turns. `--markdown docs/performance.md` writes the tables between the markers of that page, and
`--read` writes them from the records of earlier runs without measuring.
"""

import argparse
import importlib
import json
import sys
from pathlib import Path
from typing import Any

from repflow.instructions import pin
from speed import tables
from speed.images import load
from speed.settings import Settings

SECTIONS = ("augmentation", "simclr", "fixmatch", "ingest", "knn", "scaling", "profile")


def main(arguments: list[str]) -> None:
    """Measure and write."""
    options = parser().parse_args(arguments)
    if options.read:
        records = [json.loads(path.read_text(encoding="utf-8")) for path in options.read]
    else:
        # A record is kept in git: it does not tell where things are on this machine.
        shown = [Path(argument).name if Path(argument).is_absolute() else argument for argument in arguments]
        command = " ".join(["python", "benchmarks/throughput.py", *shown])
        records = [measure(settings_of(options), options.only, command, options.json)]
    if options.markdown:
        tables.fill(options.markdown, records)
    else:
        print("\n".join(tables.blocks(records).values()))


def measure(settings: Settings, sections: list[str], command: str, file: Path | None) -> dict[str, Any]:
    """The record of one run: the machine, the settings and what each section found.

    Args:
        settings: what is asked for.
        sections: which ones.
        command: that asked for it.
        file: where the record goes after every section, so that a run that is cut short leaves what it has.
    """
    pin(settings.instructions)
    machine = importlib.import_module("speed.machine")  # imports PyTorch, which has to find the instructions pinned
    images = load(settings.data, settings.images, settings.size)
    record: dict[str, Any] = {"command": command, "machine": machine.describe(settings)}
    record["images"] = {"count": len(images), "origin": images.origin, "size": settings.size}
    record |= {"repeats": settings.repeats, "seconds": settings.seconds, "sections": {}}
    for name in sections:
        print(f"{name} ...", file=sys.stderr, flush=True)
        record["sections"][name] = importlib.import_module(f"speed.{name}").measure(settings, images)
        if file:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return record


def settings_of(options: argparse.Namespace) -> Settings:
    """What the options ask for."""
    names = ("repeats", "seconds", "device", "batch", "images", "data", "encoders")
    given = {name: getattr(options, name) for name in (*names, "threads", "workers", "instructions")}
    return Settings(**{name: value for name, value in given.items() if value is not None})


def parser() -> argparse.ArgumentParser:
    """The options."""
    plain = Settings()
    made = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    made.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS), help="sections; default: all")
    made.add_argument("--repeats", type=int, default=plain.repeats, help="rounds in which every rival runs once")
    made.add_argument("--seconds", type=float, default=plain.seconds, help="of each rival in a round")
    made.add_argument("--data", type=Path, help="a folder of class folders, an archive of one, or MNIST's folder")
    made.add_argument("--images", type=int, default=plain.images, help="how many of them")
    made.add_argument("--device", choices=("cpu", "cuda"), default=plain.device)
    made.add_argument("--encoders", nargs="+", choices=("small", "resnet18"), default=plain.encoders)
    made.add_argument("--batch", type=int, help="images in a batch, in place of each section's own choice")
    made.add_argument("--threads", type=int, help="of PyTorch; default: all cores")
    made.add_argument("--instructions", choices=("avx2", "native"), default=plain.instructions)
    made.add_argument("--workers", type=int, help="of the rivals' DataLoaders; default: all cores")
    made.add_argument("--json", type=Path, help="where the record goes")
    made.add_argument("--markdown", type=Path, help="a page whose marked blocks are filled with the tables")
    made.add_argument("--read", type=Path, nargs="+", help="records of earlier runs, rather than measuring")
    return made


if __name__ == "__main__":
    main(sys.argv[1:])
