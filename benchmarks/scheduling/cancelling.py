"""A flow run that is cancelled while it trains: how soon the training ends, and whether the next run resumes it."""

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
"""More than a run makes before it is cancelled: a training logs its progress ten times."""
_PATIENCE = 300.0
"""Seconds within which a run must train, or end."""

_TRAINS = re.compile(rf"{STAGE}: step \d+/")
_SAVED = re.compile(rf"{STAGE}: stopped after step (\d+) of \d+ and saved")
_RESUMED = re.compile(rf"{STAGE}: resumed after step (\d+)$")


def measure(scratch: Path, repeats: int) -> dict[str, Any]:
    """Start runs of the default graph's first training as the form does, and cancel them as the UI does.

    Args:
        scratch: folder for the project.
        repeats: how many runs; each but the first resumes the one before.

    Returns:
        `runs`, how many; as spreads, the seconds from the request to cancel until no process of the training is left
        (`training`) and until the flow run's state is *Cancelled* (`run`); `resumed`, how many runs resumed at the step
        at which the one before was stopped.

    Raises:
        RuntimeError: a run did not train, or was not cancelled.
    """
    project = clone(scratch / "cancelled")
    values = yaml.safe_load((project / "params.yaml").read_text(encoding="utf-8"))
    values[STAGE]["training"]["steps"] = _STEPS * (repeats + 1)
    (project / "params.yaml").write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    timed(project, [*DVC, "repro", "split"])
    gone, ended, saved, resumed_at = [], [], [], []
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
            resumed_at.append(_step(_RESUMED, said))
    resumed = sum(step is not None and step == before for step, before in zip(resumed_at[1:], saved, strict=False))
    return {"runs": repeats, "training": spread(gone), "run": spread(ended), "resumed": resumed}


def _step(pattern: re.Pattern[str], lines: list[str]) -> int | None:
    return next((int(found[1]) for line in lines if (found := pattern.search(line))), None)


def _trainings(project: Path) -> list[psutil.Process]:
    """The training processes in the project."""
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
