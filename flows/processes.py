"""Stages as processes, each in a group of its own that can be ended as a whole."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

_GRACE = 6.0
"""Seconds that a process group has to save its work and end by itself; a cancelled run is to be gone within ten."""

_LEASH = str(Path(__file__).with_name("leash.py"))


class Stopped(Exception):
    """The run was stopped before this process began, or while it ran."""


class Processes:
    """Runs commands in `folder`; callable from several threads.

    Each command gets a process group of its own, because a signal to DVC alone would leave the training running. None
    outlives this process, even where that is killed.

    Args:
        folder: where the commands run.
        environment: variables to set or replace.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str] | None = None):
        self._folder, self._environment = folder, dict(environment or {})
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[str]] = set()
        self.stopped = threading.Event()

    def run(self, command: list[str], line: Callable[[str], None]) -> int:
        """Run `command`, give each line of its output to `line`, and return its exit code.

        Raises:
            Stopped: `stop` was called.
        """
        process = self._start(command)
        try:
            assert process.stdout is not None
            for text in process.stdout:
                if text.strip():
                    line(text.rstrip())
            code = process.wait()
        finally:
            _end(process)
            _close(process)
            with self._lock:
                self._running.discard(process)
        if self.stopped.is_set():
            raise Stopped
        return code

    def stop(self) -> None:
        """End what runs, and let nothing else begin."""
        with self._lock:
            self.stopped.set()
            running = list(self._running)
        for process in running:
            _signal(process, signal.SIGTERM)
        for process in running:
            _end(process)

    def _start(self, command: list[str]) -> subprocess.Popen[str]:
        with self._lock:
            if self.stopped.is_set():
                raise Stopped
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", _LEASH, str(_GRACE), *command],
                cwd=self._folder,
                env={**own_environment(), **self._environment},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                start_new_session=True,
            )
            self._running.add(process)
            return process


def with_source(project: Path) -> dict[str, str]:
    """Variables by which the project's own code runs.

    The `repflow` on the PATH may be installed from another checkout; what DVC hashes is what has to run.
    """
    before = os.environ.get("PYTHONPATH")
    return {"PYTHONPATH": os.pathsep.join([str(project / "src"), *([before] if before else [])])}


def own_environment() -> dict[str, str]:
    """This process's, with the commands of its Python in reach and output that comes line by line."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return {**os.environ, "PATH": path, "PYTHONUNBUFFERED": "1"}


def _end(process: "subprocess.Popen[str]") -> None:
    """Make sure that no process of the group is left."""
    _signal(process, signal.SIGTERM)
    deadline = time.monotonic() + _GRACE
    while _lives(process) and time.monotonic() < deadline:
        time.sleep(0.05)
    _signal(process, signal.SIGKILL)
    process.wait()


def _close(process: "subprocess.Popen[str]") -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


def _lives(process: "subprocess.Popen[str]") -> bool:
    process.poll()  # a dead leader counts as alive until it is reaped
    try:
        os.killpg(process.pid, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _signal(process: "subprocess.Popen[str]", number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
