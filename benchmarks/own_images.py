"""What the defaults make of images that nobody tuned them on: `python benchmarks/own_images.py DATA --json RECORD`.

DATA is a folder with mnist/, cifar10.tar.xz and omniglot.tar.xz. Every task is run as a user would run it: a clone of
this checkout, `repflow compose`, `dvc repro`. Beside the model that the run chooses (`models/best`) stand pixels and
oriented gradients with logistic regression (the stage `baseline`), and the same encoder trained from random weights on
the same labels for as long as the whole run took (`--rival`). `--limit` trains it with all labels for that long. The
record has one entry per task and seed, with the 95 % intervals of the stages over the test images; it is written after
every run, and what it has is not run again.
"""

import argparse
import json
import resource
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from repflow.files import writing
from speed.machine import known

CHECKOUT = Path(__file__).resolve().parents[1]

TASKS: Mapping[str, tuple[str, ...]] = {
    "cifar10-10": ("data=cifar10", "augment=general", "split.labels_per_class=10"),
    "cifar10-40": ("data=cifar10", "augment=general", "split.labels_per_class=40"),
    "mnist-10": ("data=mnist", "augment=general", "split.labels_per_class=10"),
    "omniglot-5": ("data=one_folder", "data.source.path=characters", "split.labels_per_class=5"),
}
"""Task to the choices of its run."""

CHARACTERS, DRAWINGS = 100, 10
"""Omniglot's classes, and the drawings of each for training; the ten others are for testing."""


def main(arguments: Sequence[str]) -> int:
    """Run what the record lacks, and write it after every run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", type=Path, help="folder with mnist/, cifar10.tar.xz and omniglot.tar.xz")
    parser.add_argument("--json", type=Path, required=True, metavar="RECORD", help="where the figures are written")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--budget", default="standard")
    parser.add_argument("--rival", action="store_true", help="also train from random weights for as long")
    parser.add_argument("--limit", action="store_true", help="also train with all labels for as long")
    chosen = parser.parse_args(arguments)
    record: dict[str, Any] = json.loads(chosen.json.read_text()) if chosen.json.exists() else {}
    record["machine"] = known(("torch", "scikit-learn"))
    for seed in chosen.seeds:
        for task in chosen.tasks:
            entry = record.setdefault("runs", {}).setdefault(task, {}).setdefault(str(seed), {})
            parts = ["run"] + ["rival"] * chosen.rival + ["limit"] * chosen.limit
            for part in (part for part in parts if part not in entry):
                choices = (*TASKS[task], f"seed={seed}", f"budget={chosen.budget}")
                entry[part] = run(part, chosen.data.resolve(), choices, entry.get("run", {}))
                with writing(chosen.json) as fresh:
                    fresh.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
                print(task, seed, part, json.dumps(entry[part]), flush=True)
    return 0


def run(part: str, data: Path, choices: Sequence[str], before: Mapping[str, Any]) -> dict[str, Any]:
    """One run in a fresh clone.

    Args:
        part: "run", or "rival" and "limit", which are trained from random weights for as long as `before` took.
        data: the folder of the data sets.
        choices: overrides for `repflow compose`.
        before: what the run itself gave.

    Returns:
        accuracy and its interval, minutes of CPU and of the clock; for the run also the baseline, what was chosen, the
        difference to the baseline, and every candidate.
    """
    with tempfile.TemporaryDirectory() as place:
        clone = Path(place) / "repflow"
        _call(["git", "clone", "--quiet", str(CHECKOUT), str(clone)], CHECKOUT)
        (clone / "data/raw").symlink_to(data)
        if "data=one_folder" in choices:
            unpack_characters(data / "omniglot.tar.xz", clone / "characters")
        extra = [] if part == "run" else _from_scratch(clone, choices, part, before["minutes"])
        _call(["repflow", "compose", *choices, *extra], clone)
        used, began = _cpu(), time.monotonic()
        _call(["dvc", "repro"], clone)
        cost = {"minutes": (time.monotonic() - began) / 60, "cpu_minutes": (_cpu() - used) / 60}
        cost = {name: round(value, 2) for name, value in cost.items()}
        evaluated = json.loads((clone / "metrics/evaluate.json").read_text())
        if part != "run":
            return {**evaluated["finetune"]["source"], **cost}
        return {**json.loads((clone / "metrics/select.json").read_text()), "evaluate": evaluated, **cost}


def _from_scratch(clone: Path, choices: Sequence[str], part: str, minutes: float) -> list[str]:
    """The overrides that train the encoder from random weights for `minutes`, measured by a short training."""
    shape = ["finetune=supervised", "finetune.start=random", "finetune.settings.label_smoothing=0.1"]
    shape += ["finetune.training.ema=0.99", "finetune.training.batch_size=64", "pretrain.training.steps=0"]
    shape += ["split.labels_per_class=null"] if part == "limit" else []
    _call(["repflow", "compose", *choices, *shape, "finetune.training.steps=100"], clone)
    _call(["dvc", "repro", "finetune"], clone)
    cost = json.loads((clone / ".repflow/cost/finetune.json").read_text())
    return [*shape, f"finetune.training.steps={round(minutes * 60 / cost['training_seconds'] * 100)}"]


def unpack_characters(archive: Path, folder: Path) -> None:
    """Some characters of Omniglot's background set as train|test/CHARACTER/DRAWING.png, drawn with a fixed seed."""
    with tarfile.open(archive) as tar:
        members = [each for each in tar if each.isfile() and "background" in each.name and each.name.endswith(".png")]
        names = sorted({each.name.rpartition("/")[0] for each in members})
        generator = np.random.default_rng(0)
        # The first ones chose the encoder (docs/recipes.md); these were in no trial.
        chosen = sorted(str(name) for name in generator.permutation(names)[CHARACTERS : 2 * CHARACTERS])
        for name in chosen:
            own = sorted((each for each in members if each.name.startswith(f"{name}/")), key=lambda each: each.name)
            for place, number in enumerate(generator.permutation(len(own))):
                side = "train" if place < DRAWINGS else "test"
                target = folder / side / "-".join(name.split("/")[-2:]) / Path(own[number].name).name
                target.parent.mkdir(parents=True, exist_ok=True)
                content = tar.extractfile(own[number])
                assert content is not None
                target.write_bytes(content.read())


def _cpu() -> float:
    """Seconds of CPU of all processes that this one waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _call(command: Sequence[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(
            f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-4000:]}"
        )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
