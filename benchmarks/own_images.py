"""What the defaults make of images that nobody tuned them on: `python benchmarks/own_images.py DATA RECORDS`.

DATA is a folder with mnist/, cifar10.tar.xz, omniglot.tar.xz and stamps.tar.xz (`image_folders.py`). Every task is run
as a user would run it: a clone of this checkout, `repflow compose`, `dvc repro`. Beside the model that the run chooses
(`models/best`) stand pixels and oriented gradients with logistic regression (the stage `baseline`), and the encoder
trained from random weights on the same labels for as many seconds of CPU as the whole run took (`--rival`). `--limit`
trains it with all labels for that long. RECORDS/TASK.json has the 95 % intervals of the stages over the test images, an
entry for each seed; it is written after every part, and what it has is not run again. Tasks may run side by side, each
with one thread: `--set hardware.threads=1`.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from image_folders import FOLDERS
from repflow.files import writing
from speed.machine import known

CHECKOUT = Path(__file__).resolve().parents[1]

OWN = ("data=one_folder", "data.source.path=images")

TASKS: Mapping[str, tuple[str, ...]] = {
    "cifar10-10": ("data=cifar10", "augment=general", "split.labels_per_class=10"),
    "cifar10-40": ("data=cifar10", "augment=general", "split.labels_per_class=40"),
    "mnist-10": ("data=mnist", "augment=general", "split.labels_per_class=10"),
    "omniglot-5": (*OWN, "split.labels_per_class=5"),
    **dict.fromkeys(("characters-300", "two-classes", "imbalanced", "few", "stamps"), OWN),
}
"""Task to the choices of its run; in the last five every label is known."""


def main(arguments: Sequence[str]) -> int:
    """Run what the records lack, and write them after every part."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", type=Path, help="folder with the archives")
    parser.add_argument("records", type=Path, help="folder in which TASK.json is written")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="further choices, as budget=quick")
    parser.add_argument("--rival", action="store_true", help="also train from random weights for as long")
    parser.add_argument("--limit", action="store_true", help="also train with all labels for as long")
    chosen = parser.parse_args(arguments)
    parts = ["run"] + ["rival"] * chosen.rival + ["limit"] * chosen.limit
    for seed in chosen.seeds:
        for task in chosen.tasks:
            choices = (*TASKS[task], *chosen.set, f"seed={seed}")
            run(chosen.data.resolve(), choices, parts, chosen.records / f"{task}.json", str(seed))
    return 0


def run(data: Path, choices: Sequence[str], parts: Sequence[str], path: Path, seed: str) -> None:
    """Run what the record lacks of one task and seed, in one clone.

    Args:
        data: the folder of the data sets.
        choices: overrides for `repflow compose`.
        parts: "run", and then "rival" and "limit", which are trained from random weights for as long as the run.
        path: the record. Every part has its accuracy with the interval, and minutes of the clock and of CPU; the run
            has `metrics/select.json`, with every candidate, too.
        seed: its key in the record.
    """
    record: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"seeds": {}}
    entry = record["seeds"].setdefault(seed, {})
    missing = [part for part in parts if part not in entry]
    if not missing:
        return
    with tempfile.TemporaryDirectory() as place:
        clone = Path(place) / "repflow"
        _call(["git", "clone", "--quiet", str(CHECKOUT), str(clone)], CHECKOUT)
        (clone / "data/raw").symlink_to(data)
        if path.stem in FOLDERS:
            FOLDERS[path.stem](data, clone / "images")
        for part in missing:
            entry[part] = _part(part, clone, choices, entry)
            record["machine"], record["choices"] = known(("torch", "scikit-learn")), list(choices[:-1])
            path.parent.mkdir(parents=True, exist_ok=True)
            with writing(path) as fresh:
                fresh.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
            print(path.stem, seed, part, json.dumps(entry[part]), flush=True)


def _part(part: str, clone: Path, choices: Sequence[str], entry: Mapping[str, Any]) -> dict[str, Any]:
    extra = [] if part == "run" else _from_scratch(clone, choices, part, entry["run"]["cpu_minutes"])
    cost = _timed(clone, [*choices, *extra], "dvc", "repro", *(["evaluate"] if extra else []))
    if part == "run":
        return {**json.loads((clone / "metrics/select.json").read_text()), **cost}
    return {**json.loads((clone / "metrics/evaluate.json").read_text())["finetune"]["source"], **cost}


def _from_scratch(clone: Path, choices: Sequence[str], part: str, minutes: float) -> list[str]:
    """The overrides that train the encoder from random weights for so many minutes of CPU, by two short trainings."""
    shape = ["finetune=supervised", "+finetune.start=random", "finetune.settings.label_smoothing=0.1"]
    shape += ["finetune.settings.augment=${augment.strong}"]  # as the default has: with few labels it is worth a lot
    shape += ["+finetune.training.ema=0.99", "finetune.training.batch_size=64", "pretrain.training.steps=0"]
    shape += ["split.labels_per_class=null"] if part == "limit" else []
    taken = []
    for steps in (20, 220):
        overrides = [*choices, *shape, f"finetune.training.steps={steps}"]
        _timed(clone, overrides, "dvc", "repro", "finetune")  # what stands before it
        taken.append(_timed(clone, overrides, "dvc", "repro", "--single-item", "--force", "finetune")["cpu_minutes"])
    return [*shape, f"finetune.training.steps={round(minutes / (taken[1] - taken[0]) * 200)}"]


def _timed(clone: Path, overrides: Sequence[str], *command: str) -> dict[str, float]:
    """Compose and run; minutes of the clock and of CPU that the command took."""
    _call(["repflow", "compose", "--reset", *overrides], clone)
    used, began = _cpu(), time.monotonic()
    _call(command, clone)
    return {"minutes": (time.monotonic() - began) / 60, "cpu_minutes": (_cpu() - used) / 60}


def _cpu() -> float:
    """Seconds of CPU of all processes that this one waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _call(command: Sequence[str], folder: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(folder / "src")}  # the clone's code, whatever is installed
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(
            f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-4000:]}"
        )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
