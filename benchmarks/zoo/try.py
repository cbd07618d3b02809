"""Try settings of a method: `python -m zoo.try DATA METHOD KEY=VALUE ...`; the validation images judge, not the test's.

KEY is a key of conf/pretrain/METHOD.yaml, as `settings.temperature` or `training.optimizer.learning_rate`. The readings
are printed, and added to trials/DATA.csv, which docs/trials.md shows: what was tried is part of the record.
"""

import argparse
import csv
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from repflow.data.read.rows import Side, open_domain
from repflow.evaluation.probes import ProbeConfig
from repflow.hardware.devices import use_threads
from repflow.schema import build
from repflow.training.cost import Meter
from zoo import HERE, LONG
from zoo.compose import IMAGES, compose, sections
from zoo.learn import HARDWARE, learn
from zoo.readings import Readings

READINGS = ("knn", "linear_few", "linear")
COLUMNS = ("method", "changes", "seed", "images", *READINGS, *(f"chosen_{name}" for name in READINGS))


def main(arguments: Sequence[str]) -> None:
    """Train, read the validation images, and add a line to the trials."""
    parser = argparse.ArgumentParser(prog="python -m zoo.try", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", choices=IMAGES)
    parser.add_argument("method")
    parser.add_argument("changes", nargs="*", metavar="KEY=VALUE")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--images", type=int, help="training budget; default: the leaderboard's")
    chosen = parser.parse_args(arguments)
    images = chosen.images or IMAGES[chosen.data]
    settings = changed(chosen.data, chosen.method, chosen.changes, images)
    found = readings(chosen.data, chosen.method, settings, chosen.seed)
    line = {
        "method": chosen.method,
        "changes": " ".join(chosen.changes),
        "seed": chosen.seed,
        "images": images,
        **found,
    }
    add(HERE / "trials" / f"{chosen.data}.csv", line)
    print(*(f"{column}: {line.get(column, '')}" for column in COLUMNS), sep=", ")


def changed(data: str, method: str, changes: Sequence[str], images: int) -> dict[str, Any]:
    """The method's section and the probes, composed with changes of the section: `method` and `probe`."""
    whole = compose(data.removesuffix(LONG), [f"++zoo.{method}.{change}" for change in changes])
    return {"method": dict(sections(whole, images))[method], "probe": whole["probe"]}


def readings(data: str, method: str, settings: Mapping[str, Any], seed: int) -> dict[str, float]:
    """Accuracy of the probes in [0, 1] on the validation images."""
    place = HERE / data.removesuffix(LONG) / "data"
    domain = open_domain("source", place / "stores", place / "splits")
    use_threads(HARDWARE.threads)
    encoder, _ = learn(settings["method"], domain, method, seed, Meter())
    found = Readings(build(ProbeConfig, settings["probe"], "probe"), encoder, domain, seed, Side.VALIDATION).accuracies
    chosen = {f"chosen_{name}": found["chosen"][name] for name in READINGS if name in found.get("chosen", {})}
    return {name: round(value, 4) for name, value in {**{each: found[each] for each in READINGS}, **chosen}.items()}


def add(path: Path, line: Mapping[str, Any]) -> None:
    """Add a line to the trials of a data set."""
    path.parent.mkdir(exist_ok=True)
    fresh = not path.exists()
    with path.open("a", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        if fresh:
            writer.writeheader()
        writer.writerow(line)


if __name__ == "__main__":
    main(sys.argv[1:])
