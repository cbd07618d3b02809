"""A run that is cancelled while it trains: how soon the training is gone, and whether the next run goes on there."""

import re
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import yaml

from scheduling.deployed import ask, log, queue, ui, wait_for
from scheduling.scratch import DVC, clone, timed
from speed.spreads import spread

STAGE = "pretrain"
_STEPS = 300
"""More than a run does before it is cancelled: a training tells ten times how far it is."""
_PATIENCE = 300.0
"""Seconds until a run must be seen to train."""

_TRAINS = re.compile(rf"{STAGE}: step \d+/")
_SAVED = re.compile(rf"{STAGE}: stopped after step (\d+) of \d+ and saved")
_GOES_ON = re.compile(rf"{STAGE}: goes on after step (\d+)$")


def measure(scratch: Path, repeats: int) -> dict[str, Any]:
    """Start runs of the default graph's first training as the form does, and cancel them as the page does.

    Args:
        scratch: where the project goes.
        repeats: how many runs; but for the first, each goes on from the one before.

    Returns:
        `runs`, how many; `training`, the seconds from the cancelling until no process of the training is left, and
        `run`, those until the server calls the run cancelled, as spreads; `resumed`, how many went on at the step at
        which the one before was stopped.

    Raises:
        RuntimeError: a run did not train, or was not cancelled.
    """
    project = clone(scratch / "cancelled")
    values = yaml.safe_load((project / "params.yaml").read_text(encoding="utf-8"))
    values[STAGE]["training"]["steps"] = _STEPS * (repeats + 1)
    (project / "params.yaml").write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    timed(project, [*DVC, "repro", "split"])
    gone, ended, saved, went_on = [], [], [], []
    with ui(project) as api:
        for _ in range(repeats):
            run = queue(api, {"targets": [STAGE]})
            _wait_until(lambda run=run: any(map(_TRAINS.search, log(api, run))), 0.5)  # type: ignore[misc]
            training = _trainings(project)
            started = time.monotonic()
            ask(api, f"flow_runs/{run}/set_state", {"state": {"type": "CANCELLING"}})
            _wait_until(lambda training=training: not any(map(_lives, training)), 0.05)  # type: ignore[misc]
            gone.append(time.monotonic() - started)
            state = wait_for(api, run)["state_type"]
            ended.append(time.monotonic() - started)
            said = log(api, run)
            if state != "CANCELLED" or not training:
                raise RuntimeError("\n".join([f"the run is {state}, with {len(training)} trainings", *said[-20:]]))
            saved.append(_step(_SAVED, said))
            went_on.append(_step(_GOES_ON, said))
    resumed = sum(step is not None and step == before for step, before in zip(went_on[1:], saved, strict=False))
    return {"runs": repeats, "training": spread(gone), "run": spread(ended), "resumed": resumed}


def _step(pattern: re.Pattern[str], lines: list[str]) -> int | None:
    return next((int(found[1]) for line in lines if (found := pattern.search(line))), None)


def _trainings(project: Path) -> list[psutil.Process]:
    """Those at work in the project."""
    found = []
    for process in psutil.process_iter(["cmdline", "cwd"]):
        command = process.info["cmdline"] or []
        if process.info["cwd"] == str(project) and STAGE in command and any("repflow" in word for word in command):
            found.append(process)
    return found


def _lives(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    return False


def _wait_until(true: Callable[[], object], every: float) -> None:
    end = time.monotonic() + _PATIENCE
    while not true():
        if time.monotonic() > end:
            raise RuntimeError(f"no run trains, or ends, within {_PATIENCE:.0f} s")
        time.sleep(every)
