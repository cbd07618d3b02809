"""Process supervisor: starts commands for a flow run, and terminates them when the run ends, however it ends.

    python -P supervisor.py GRACE_SECONDS

A flow run starts one supervisor as a process of its own. It has a single thread, so that it can fork safely, which a
flow run with its dozens of threads cannot. It reads requests from its standard input, a Unix socket, and exits when
that is closed. A request is one line of JSON, `{"command": [WORDS]}` or `{"dvc": [ARGUMENTS]}`, with two file
descriptors: one for the command's output, and the control socket of the command. A request without descriptors only
imports DVC.

Each command is the leader of a process group, and has a monitor: another fork, which holds the supervisor's end of the
control socket. The monitor sends the id of the process group when the command has started and the exit code when it has
ended, as four bytes each. When the command ends, or the flow's end of the control socket is closed or shut down, which
the kernel does where the flow run is killed, the monitor sends SIGTERM to the process group, and SIGKILL after
GRACE_SECONDS.

DVC is imported once, which takes a second; each `dvc` command is then a fork of this process.
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
"""A process group's id or an exit code, as the control socket carries it."""

_PRELOADED = (
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
"""Modules that every `dvc repro` imports lazily. With a DVC that lacks one of them, commands only start more slowly."""


def main(grace_seconds: float) -> None:
    """Start what is requested on standard input until that is closed; in forks that run DVC, ends by SystemExit.

    Args:
        grace_seconds: between SIGTERM and SIGKILL.
    """
    flow = socket.socket(fileno=0)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the monitors
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
        # A request with descriptors is the last one: the flow waits for an answer before it sends another.
        if descriptors and not os.fork():
            flow.detach()
            _start(requests[-1], descriptors[0], socket.socket(fileno=descriptors[1]), grace_seconds)
        for each in descriptors:
            os.close(each)


def _import_dvc() -> None:
    if "dvc.cli" not in sys.modules:
        for module in ("dvc.cli", *_PRELOADED):
            with suppress(Exception):  # the command itself will report what is wrong
                importlib.import_module(module)
        gc.freeze()  # a garbage collection in a fork would copy all of the memory


def _start(request: dict[str, list[str]], output: int, control: socket.socket, grace_seconds: float) -> None:
    """Start a command as a child of this fork, which becomes its monitor; does not return."""
    os.setsid()
    ended, wakeup = os.pipe()
    os.set_blocking(wakeup, False)
    signal.set_wakeup_fd(wakeup)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    command = os.fork()
    if command:
        os.close(output)
        try:
            os.dup2(null, 2)
            _monitor(control, command, ended, grace_seconds)
        finally:
            os._exit(0)
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setpgid(0, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    control.close()
    for each in (ended, wakeup, null, output):
        os.close(each)
    if "dvc" in request:
        _dvc(request["dvc"])
    _execute(request["command"])


def _dvc(arguments: list[str]) -> NoReturn:
    import dvc
    from dvc.cli import main

    # DVC's locks name their holder by its command line.
    sys.argv = [os.path.join(os.path.dirname(dvc.__file__), "__main__.py"), *arguments]
    sys.exit(main(arguments))


def _execute(command: list[str]) -> NoReturn:
    for name in ("SIGPIPE", "SIGXFZ", "SIGXFSZ"):  # Python ignores these, and a child would inherit that
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_DFL)
    try:
        os.execvp(command[0], command)
    except OSError as error:
        print(f"error: {command[0]}: {error.strerror}", file=sys.stderr)
        os._exit(127)


def _monitor(control: socket.socket, command: int, ended: int, grace_seconds: float) -> None:
    """Wait until the command ends or its control socket is closed, then terminate what is left of its process group."""
    with suppress(ProcessLookupError, PermissionError):
        os.setpgid(command, command)  # the child does so, too: whichever runs first
    with suppress(OSError):
        control.sendall(NUMBER.pack(command))
    code = None
    while code is None and control.fileno() not in select.select([control.fileno(), ended], [], [])[0]:
        os.read(ended, 64)
        code = _exit_code(command)
    signal_group(command, signal.SIGTERM)
    deadline = time.monotonic() + grace_seconds
    while (code is None or _is_alive(command)) and time.monotonic() < deadline:
        time.sleep(0.02)
        code = _exit_code(command) if code is None else code
    if code is None or _is_alive(command):
        signal_group(command, signal.SIGKILL)
    while code is None:
        code = _exit_code(command, options=0)
    with suppress(OSError):
        control.sendall(NUMBER.pack(code))


def _exit_code(child: int, options: int = os.WNOHANG) -> int | None:
    """A child's exit code, or 128 plus the number of the signal that ended it; None while it runs."""
    ended, status = os.waitpid(child, options)
    code = os.waitstatus_to_exitcode(status)
    return None if not ended else code if code >= 0 else 128 - code


def _is_alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def signal_group(group: int, number: int) -> None:
    """Send a signal to a process group, if any process of it is left."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


if __name__ == "__main__":
    main(float(sys.argv[1]))
