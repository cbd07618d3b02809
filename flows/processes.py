"""Commands as processes, each in a group of its own that can be ended as a whole."""

import os
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from launcher import Command, Launcher


class Stopped(Exception):
    """The run was stopped before this process began, or while it ran."""


class Processes:
    """Runs commands in `folder`; callable from several threads.

    Each command gets a process group of its own, because a signal to DVC alone would leave the training running. None
    outlives this process, even where that is killed. `with` stops what runs at the end of the block.

    Args:
        folder: where the commands run.
        environment: variables to set or replace among those that this process has now.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str] | None = None):
        self._folder, self._environment = folder, {**own_environment(), **(environment or {})}
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
        """Run `command`, give each line of its output to `line`, and return its exit code.

        Raises:
            Stopped: `stop` was called.
            RuntimeError: nothing can be started here.
        """
        return self._run({"command": command}, line)

    def dvc(self, arguments: list[str], line: Callable[[str], None]) -> int:
        """The same with the DVC of this Python, whatever the PATH says."""
        return self._run({"dvc": arguments}, line)

    def prepare_dvc(self) -> None:
        """Have DVC imported, beside whatever this process does next, so that the first `dvc` begins at once, too."""
        with self._turn:
            self._a_launcher().send({"dvc": []})

    def stop(self) -> None:
        """End what runs, and let nothing else begin."""
        with self._lock:
            self.stopped.set()
            running, launcher = list(self._running), self._launcher
        if launcher is not None:
            launcher.kill()  # nothing depends on it, and whoever waits for its answer has one
        for command in running:
            command.let_go()
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
            command.let_go()
            command.wait()
            with self._lock:
                self._running.discard(command)
            command.close()
        if self.stopped.is_set():
            raise Stopped
        return code

    def _start(self, request: Mapping[str, list[str]]) -> Command:
        said = ""
        with self._turn:
            for _ in range(2):  # a launcher that was killed has a successor
                launcher = self._a_launcher()
                command = launcher.start(request)
                if command is not None:
                    with self._lock:
                        self._running.add(command)
                    if self.stopped.is_set():
                        command.let_go()  # `stop` may not have seen it
                    return command
                said = launcher.close()
                self._launcher = None
        raise RuntimeError(f"no command can be started: {said}")

    def _a_launcher(self) -> Launcher:
        with self._lock:
            if self.stopped.is_set():
                raise Stopped
            if self._launcher is None:
                self._launcher = Launcher(self._folder, self._environment)
            return self._launcher


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
