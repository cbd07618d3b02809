"""Runs commands, each in a process group of its own that can be terminated as a whole."""

import os
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from launcher import Command, Launcher


class Stopped(Exception):
    """The flow run was stopped before the command started, or while it ran."""


class Processes:
    """Runs commands in `folder`; safe to call from several threads.

    Each command has a process group of its own, because a signal to DVC alone would leave the training running. No
    command outlives this process, even where it is killed; see supervisor.py. Leaving a `with` block calls `stop`.

    Args:
        folder: where the commands run.
        environment: variables to set; this process's own are inherited.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str] | None = None):
        self.folder, self._environment = folder, {**own_environment(), **(environment or {})}
        self._lock, self._turn = threading.Lock(), threading.Lock()
        self._launcher: Launcher | None = None
        self._running: set[Command] = set()
        self.stopped = threading.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def run(self, command: list[str], line: Callable[[str], None]) -> int:
        """Run `command`, pass each line of its output to `line`, and return its exit code.

        Raises:
            Stopped: `stop` was called.
            RuntimeError: the process supervisor cannot start commands.
        """
        return self._run({"command": command}, line)

    def dvc(self, arguments: list[str], line: Callable[[str], None]) -> int:
        """Run `dvc` with these arguments, as `run` does: the DVC of this Python, whatever is on the PATH."""
        return self._run({"dvc": arguments}, line)

    def prepare_dvc(self) -> None:
        """Import DVC in the supervisor, in the background, so that the first `dvc` command starts at once, too."""
        with self._turn:
            self._current_launcher().send({"dvc": []})

    def stop(self) -> None:
        """Terminate the commands that run, and start no others."""
        with self._lock:
            self.stopped.set()
            running, launcher = list(self._running), self._launcher
        if launcher is not None:
            launcher.kill()  # commands do not depend on it, and a thread that waits for its answer sees it end
        for command in running:
            command.terminate()
        for command in running:
            command.wait()
        with self._turn:
            if launcher is not None:
                launcher.close()

    def _run(self, request: Mapping[str, list[str]], line: Callable[[str], None]) -> int:
        command = self._start(request)
        try:
            for text in command.output:
                if text.strip():
                    line(text.rstrip())
            code = command.wait()
        finally:
            command.terminate()
            command.wait()
            with self._lock:
                self._running.discard(command)
            command.close()
        if self.stopped.is_set():
            raise Stopped
        return code

    def _start(self, request: Mapping[str, list[str]]) -> Command:
        reason = ""
        with self._turn:
            for _ in range(2):  # one more try with a new supervisor where the first was killed
                launcher = self._current_launcher()
                command = launcher.start(request)
                if command is not None:
                    with self._lock:
                        self._running.add(command)
                    if self.stopped.is_set():
                        command.terminate()  # `stop` may have run before it was added
                    return command
                reason = launcher.close()
                self._launcher = None
        raise RuntimeError(f"no command can be started: {reason}")

    def _current_launcher(self) -> Launcher:
        with self._lock:
            if self.stopped.is_set():
                raise Stopped
            if self._launcher is None:
                self._launcher = Launcher(self.folder, self._environment)
            return self._launcher


def with_source(project: Path) -> dict[str, str]:
    """Environment variables by which stages import the code in `project`.

    The installed `repflow` may come from another checkout, but DVC hashes the code of this one.
    """
    before = os.environ.get("PYTHONPATH")
    return {"PYTHONPATH": os.pathsep.join([str(project / "src"), *([before] if before else [])])}


def own_environment() -> dict[str, str]:
    """This process's environment, with the scripts of its Python first on the PATH and Python's output unbuffered."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return {**os.environ, "PATH": path, "PYTHONUNBUFFERED": "1"}
