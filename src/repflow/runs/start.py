"""A run without Prefect: `dvc repro` in the run's worktree."""

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from repflow.errors import RepflowError
from repflow.runs.isolated import Run, finish, isolated

log = logging.getLogger("repflow")

_GRACE = 6
"""Seconds that the stages have to save their work when the run is ended."""


def start(project: Path, overrides: Sequence[str], name: str = "", push: bool = False) -> str:
    """Run the whole graph with `overrides` beside the user's checkout, commit it, and give the commit's message.

    Raises:
        RepflowError: the run could not start, a stage failed, or it could not be committed or pushed.
    """
    with isolated(project, overrides, name, push) as run:
        left_out = run.repository.uncommitted()
        if left_out:
            log.warning("%s", without(left_out))
        log.info("run %s: works in %s", run.name, run.folder)
        code = _reproduce(run)
        if code:
            again = " ".join(["repflow runs start", "--name", run.name, *run.overrides])
            raise RepflowError(f"run {run.name}: a stage failed (dvc repro: exit code {code}); to go on: {again}")
        return finish(run, push)


def without(left_out: Sequence[str]) -> str:
    """What is said of changes in the checkout that a run does not have."""
    shown = ", ".join(left_out[:5]) + (f" and {len(left_out) - 5} more" if len(left_out) > 5 else "")
    return f"a run starts from the last commit; it does not have the changes in {shown}"


def _reproduce(run: Run) -> int:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    environment = {**os.environ, **run.environment, "PATH": path}
    command = [sys.executable, "-m", "dvc", "repro"]
    with subprocess.Popen(command, cwd=run.folder, env=environment, start_new_session=True) as process:
        try:
            return process.wait()
        except BaseException:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(_GRACE)
                os.killpg(process.pid, signal.SIGKILL)
            raise
