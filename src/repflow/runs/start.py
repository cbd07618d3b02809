"""Start an isolated run without Prefect: `dvc repro` in its worktree."""

import logging
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from repflow.errors import RepflowError
from repflow.runs.isolated import Run, finish, isolated
from repflow.stages.composing.announcement import SAID, announce

log = logging.getLogger("repflow")

_GRACE = 6
"""Seconds that the stages have to save a checkpoint when the run is stopped."""


def start(project: Path, overrides: Sequence[str], name: str = "", push: bool = False) -> str:
    """Run the whole pipeline with `overrides` in a worktree and commit the results; returns the commit message.

    Raises:
        RepflowError: the run could not start, a stage failed, or it could not be committed or pushed.
    """
    with isolated(project, overrides, name, push) as run:
        left_out = run.repository.uncommitted()
        if left_out:
            log.warning("%s", uncommitted_warning(left_out))
        log.info("run %s: works in %s", run.name, run.folder)
        announce(run.folder / "conf", f"run {run.name}:")
        code = _reproduce(run)
        if code:
            again = shlex.join(["repflow", "runs", "start", "--name", run.name, *run.overrides])
            raise RepflowError(f"run {run.name}: a stage failed (dvc repro: exit code {code}); to resume: {again}")
        return finish(run, push)


def uncommitted_warning(left_out: Sequence[str]) -> str:
    """The warning about uncommitted changes in the checkout, which a run does not include."""
    shown = ", ".join(left_out[:5]) + (f" and {len(left_out) - 5} more" if len(left_out) > 5 else "")
    return f"a run starts from the last commit; it does not include the uncommitted changes in {shown}"


def _reproduce(run: Run) -> int:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    environment = {**os.environ, **run.environment, **SAID, "PATH": path}
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
