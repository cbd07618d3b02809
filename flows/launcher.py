"""The flow's side of leash.py: the process that starts commands, and the commands."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from leash import NUMBER, signal_group

_LEASH = str(Path(__file__).with_name("leash.py"))

_GRACE = 6.0
"""Seconds that a process group has to save its work and end by itself; a cancelled run is to be gone within ten."""


class Launcher:
    """The process that starts commands, see leash.py."""

    def __init__(self, folder: Path, environment: Mapping[str, str]):
        self._socket, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", _LEASH, str(_GRACE)],
                cwd=folder,
                env=environment,
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,  # a terminal would have colours
                text=True,
                errors="replace",
                start_new_session=True,
            )

    def send(self, request: Mapping[str, list[str]], *descriptors: int) -> None:
        """Send a request. Whether it arrives is seen by the answer; without descriptors there is none."""
        with suppress(OSError):
            socket.send_fds(self._socket, [json.dumps(request).encode() + b"\n"], descriptors)

    def start(self, request: Mapping[str, list[str]]) -> "Command | None":
        """What was asked for, or nothing where this process has ended."""
        output, theirs = os.pipe()
        mine, leash = socket.socketpair()
        with leash:
            self.send(request, theirs, leash.fileno())
        os.close(theirs)
        command = Command(output, mine)
        if command.begun:
            return command
        command.close()
        return None

    def kill(self) -> None:
        self._process.kill()

    def close(self) -> str:
        """End it, and give what it said, or how it ended."""
        self._socket.close()
        with self._process as process:
            assert process.stderr is not None
            said = process.stderr.read().strip() if not process.stderr.closed else ""
        return said or f"the process that does it ended with {self._process.returncode}"


class Command:
    """A process group and its leash, see leash.py."""

    def __init__(self, output: int, leash: socket.socket):
        self.output = os.fdopen(output, errors="replace")
        self._leash = leash
        number = b""
        with suppress(ConnectionError):
            number = leash.recv(NUMBER.size, socket.MSG_WAITALL)
        self.begun = len(number) == NUMBER.size
        self._group = NUMBER.unpack(number)[0] if self.begun else 0
        self._code = 128 + signal.SIGKILL

    def let_go(self) -> None:
        """Have the group ended."""
        with suppress(OSError):
            self._leash.shutdown(socket.SHUT_WR)

    def wait(self) -> int:
        """Wait until nobody is left of the group, and give the command's exit code; several threads may wait."""
        try:
            number = self._leash.recv(NUMBER.size, socket.MSG_PEEK)
        except ConnectionError:
            number = b""
        except OSError:
            return self._code  # somebody else has waited, and closed it
        if number:
            self._code = NUMBER.unpack(number)[0]
        else:
            signal_group(self._group, signal.SIGKILL)  # who held the leash was killed
        return self._code

    def close(self) -> None:
        self.output.close()
        self._leash.close()
