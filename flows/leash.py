"""Starts commands for a flow, each on a leash: none outlives the flow, however that one ends.

    python -P leash.py SECONDS

A process of its own, with one thread, which can fork where a flow with its dozens could not. What to start it reads
from its standard input, a Unix socket; it ends with it. A request is a line of JSON, either `{"command": [WORDS]}` or
`{"dvc": [ARGUMENTS]}`, with two descriptors: where the output goes, and the leash. Without them DVC is only imported.

A command is a process group. Another process holds its leash, a Unix socket as well: it sends the number of the group,
and at last the exit code, both as four bytes. When the command ends, or the other end of the leash is closed or shut
down, or whoever held that is killed, the group gets SIGTERM, and SIGKILL after so many seconds.

DVC is imported once, which takes a second; each of its commands then begins as a fork of this process.
"""

import gc
import importlib
import json
import os
import select
import signal
import socket
import struct
import sys
import time
from contextlib import suppress
from typing import NoReturn

NUMBER = struct.Struct("i")

_LATE = (
    "dvc.cachemgr",
    "dvc.cli.parser",
    "dvc.data_cloud",
    "dvc.lock",
    "dvc.repo.artifacts",
    "dvc.repo.datasets",
    "dvc.repo.metrics",
    "dvc.repo.open_repo",
    "dvc.repo.params",
    "dvc.repo.plots",
    "dvc.repo.reproduce",
    "dvc.repo.stage",
    "dvc.rwlock",
    "dvc.scm",
    "dvc.utils.strictyaml",
    "dvc_data.hashfile.db.local",
    "dvc_data.hashfile.status",
    "dulwich.ignore",
    "dulwich.worktree",
    "fsspec.implementations.memory",
)
"""What `dvc repro` imports when it needs it, which is always. A DVC that lacks one of them is slower, and no worse."""


def main(patience: float) -> None:
    """Start what is asked for on standard input until that is closed; returns in DVC's processes, too, by SystemExit.

    Args:
        patience: seconds between SIGTERM and SIGKILL.
    """
    flow = socket.socket(fileno=0)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those who hold the leashes
    while True:
        text, descriptors, _, _ = socket.recv_fds(flow, 65536, 2)
        while text and not text.endswith(b"\n"):
            more = flow.recv(65536)
            text = text + more if more else b""
        if not text:
            return
        requests = [json.loads(line) for line in text.splitlines()]
        if any("dvc" in request for request in requests):
            _import_dvc()
        if descriptors and not os.fork():  # the flow waits for an answer: nothing comes behind such a request
            flow.detach()
            _begin(requests[-1], descriptors[0], socket.socket(fileno=descriptors[1]), patience)
        for each in descriptors:
            os.close(each)


def _import_dvc() -> None:
    if "dvc.cli" not in sys.modules:
        for module in ("dvc.cli", *_LATE):
            with suppress(Exception):  # the command itself will say what is wrong
                importlib.import_module(module)
        gc.freeze()  # a collection in a fork would copy all of it


def _begin(request: dict[str, list[str]], output: int, leash: socket.socket, patience: float) -> None:
    """Start a command in a fork of this process, which then holds its leash and does not return."""
    os.setsid()
    ended, wakeup = os.pipe()
    os.set_blocking(wakeup, False)
    signal.set_wakeup_fd(wakeup)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 0)
    command = os.fork()
    if command:
        os.close(output)
        try:
            os.dup2(nowhere, 2)
            _hold(leash, command, ended, patience)
        finally:
            os._exit(0)
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setpgid(0, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    leash.close()
    for each in (ended, wakeup, nowhere, output):
        os.close(each)
    if "dvc" in request:
        _dvc(request["dvc"])
    _execute(request["command"])


def _dvc(arguments: list[str]) -> NoReturn:
    import dvc
    from dvc.cli import main

    sys.argv = [os.path.join(os.path.dirname(dvc.__file__), "__main__.py"), *arguments]  # a lock names its holder so
    sys.exit(main(arguments))


def _execute(command: list[str]) -> NoReturn:
    for name in ("SIGPIPE", "SIGXFZ", "SIGXFSZ"):  # which Python ignores
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_DFL)
    try:
        os.execvp(command[0], command)
    except OSError as error:
        print(f"error: {command[0]}: {error.strerror}", file=sys.stderr)
        os._exit(127)


def _hold(leash: socket.socket, command: int, ended: int, patience: float) -> None:
    """Wait for the end of a child or that of its holder, then make sure that nobody is left of its group."""
    with suppress(ProcessLookupError, PermissionError):
        os.setpgid(command, command)  # it does so itself; whoever is first
    with suppress(OSError):
        leash.sendall(NUMBER.pack(command))
    code = None
    while code is None and leash.fileno() not in select.select([leash.fileno(), ended], [], [])[0]:
        os.read(ended, 64)
        code = _exit_code(command)
    signal_group(command, signal.SIGTERM)
    deadline = time.monotonic() + patience
    while (code is None or _lives(command)) and time.monotonic() < deadline:
        time.sleep(0.02)
        code = _exit_code(command) if code is None else code
    if code is None or _lives(command):
        signal_group(command, signal.SIGKILL)
    while code is None:
        code = _exit_code(command, options=0)
    with suppress(OSError):
        leash.sendall(NUMBER.pack(code))


def _exit_code(child: int, options: int = os.WNOHANG) -> int | None:
    """That of a child, or 128 and the number of the signal that ended it; None where it has not ended."""
    ended, status = os.waitpid(child, options)
    code = os.waitstatus_to_exitcode(status)
    return None if not ended else code if code >= 0 else 128 - code


def _lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def signal_group(group: int, number: int) -> None:
    """Send a signal to a process group, if there is still somebody in it."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


if __name__ == "__main__":
    main(float(sys.argv[1]))
