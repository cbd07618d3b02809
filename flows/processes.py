"""Stages as processes: a few at once, each in a group of its own that can be ended as a whole."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

_GRACE = 10.0
"""Seconds that a process group has to end by itself."""


class Stopped(Exception):
    """The run was stopped before this process began, or while it ran."""


class Processes:
    """Runs commands in `folder`, at most `slots` at once; callable from several threads.

    Each command gets a process group of its own, because a signal to DVC alone would leave the training running.
    """

    def __init__(self, folder: Path, slots: int):
        self._folder = folder
        self._slots = threading.BoundedSemaphore(slots)
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[str]] = set()
        self._stopped = False

    def run(self, command: list[str], line: Callable[[str], None]) -> int:
        """Wait for a slot, run `command`, give each line of its output to `line`, and return its exit code.

        Raises:
            Stopped: `stop` was called.
        """
        with self._slots:
            process = self._start(command)
            try:
                assert process.stdout is not None
                for text in process.stdout:
                    if text.strip():
                        line(text.rstrip())
                code = process.wait()
            finally:
                _end(process)
                with self._lock:
                    self._running.discard(process)
        if self._stopped:
            raise Stopped
        return code

    def stop(self) -> None:
        """End what runs, and let nothing else begin."""
        with self._lock:
            self._stopped = True
            running = list(self._running)
        for process in running:
            _signal(process, signal.SIGTERM)
        for process in running:
            _end(process)

    def _start(self, command: list[str]) -> subprocess.Popen[str]:
        with self._lock:
            if self._stopped:
                raise Stopped
            process = subprocess.Popen(
                command,
                cwd=self._folder,
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                start_new_session=True,
            )
            self._running.add(process)
            return process


def _environment() -> dict[str, str]:
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
