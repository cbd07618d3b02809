"""Supervised commands: the flow run's end of supervisor.py."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from supervisor import NUMBER, signal_group

_SUPERVISOR = str(Path(__file__).with_name("supervisor.py"))

_GRACE_SECONDS = 6.0
"""Between SIGTERM and SIGKILL, for a training to save a checkpoint; a cancelled run must end within ten seconds."""


class Launcher:
    """A supervisor process that starts commands in `folder`; see supervisor.py.

    Args:
        folder: where the commands run.
        environment: their environment variables.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str]):
        self._socket, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", _SUPERVISOR, str(_GRACE_SECONDS)],
                cwd=folder,
                env=environment,
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,  # with a terminal there, a traceback would be coloured
                encoding="utf-8",
                errors="replace",
                start_new_session=True,
            )

    def send(self, request: Mapping[str, list[str]], *descriptors: int) -> None:
        """Send a request; one without descriptors is not answered.

        A supervisor that has ended is not an error here: `start` sees that no answer comes.
        """
        with suppress(OSError):
            socket.send_fds(self._socket, [json.dumps(request).encode() + b"\n"], descriptors)

    def start(self, request: Mapping[str, list[str]]) -> "Command | None":
        """Start a command; None where the supervisor has ended."""
        output, theirs = os.pipe()
        control, monitors = socket.socketpair()
        with monitors:
            self.send(request, theirs, monitors.fileno())
        os.close(theirs)
        command = Command(output, control)
        if command.started:
            return command
        command.close()
        return None

    def kill(self) -> None:
        """Kill the supervisor; commands that run go on, each with its monitor."""
        self._process.kill()

    def close(self) -> str:
        """End the supervisor, and return what it wrote to its standard error, or else its exit code in words."""
        self._socket.close()
        with self._process as process:
            assert process.stderr is not None
            said = process.stderr.read().strip() if not process.stderr.closed else ""
        return said or f"the process supervisor ended with exit code {self._process.returncode}"


class Command:
    """A command that a supervisor was asked to start.

    Args:
        output: a descriptor to read the command's output from.
        control: this end of its control socket, see supervisor.py.

    Attributes:
        output: the command's standard output and standard error.
        started: whether it was started.
    """

    def __init__(self, output: int, control: socket.socket):
        self.output = os.fdopen(output, encoding="utf-8", errors="replace")
        self._control = control
        number = b""
        with suppress(ConnectionError):
            number = control.recv(NUMBER.size, socket.MSG_WAITALL)
        self.started = len(number) == NUMBER.size
        self._group = NUMBER.unpack(number)[0] if self.started else 0
        self._code = 128 + signal.SIGKILL

    def terminate(self) -> None:
        """Have the monitor send SIGTERM to the process group, and SIGKILL after the grace period; does not wait."""
        with suppress(OSError):
            self._control.shutdown(socket.SHUT_WR)

    def wait(self) -> int:
        """Wait until no process of the group is left, and return the exit code; several threads may wait."""
        try:
            number = self._control.recv(NUMBER.size, socket.MSG_PEEK)
        except ConnectionError:
            number = b""
        except OSError:
            return self._code  # another thread has waited, and closed it
        if number:
            self._code = NUMBER.unpack(number)[0]
        else:
            signal_group(self._group, signal.SIGKILL)  # the monitor was killed
        return self._code

    def close(self) -> None:
        """Close both descriptors."""
        self.output.close()
        self._control.close()
