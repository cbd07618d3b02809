"""Clones of the last commit, timed commands, and Prefect servers for the benchmark."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from processes import Processes, with_source
from scheduling import PROJECT
from ui import HOST, Service, answers

DVC = [sys.executable, "-m", "dvc"]
FLOW = [sys.executable, "flows/pipeline.py"]

_MADE = ("dvc.lock", "metrics", "plots")
"""Results of the project's graph that are in git."""


def forget_settings() -> None:
    """Unset environment variables that would change the runs, and turn off analytics."""
    for name in [*os.environ]:
        if name.startswith(("PREFECT_", "REPFLOW_", "DVC_")) or name == "PYTHONDONTWRITEBYTECODE":
            del os.environ[name]
    os.environ |= {"DVC_NO_ANALYTICS": "1", "DO_NOT_TRACK": "1", "GX_ANALYTICS_ENABLED": "false"}


def clone(folder: Path, graph: str | None = None) -> Path:
    """Clone the last commit of the project into `folder`, without outputs.

    Args:
        folder: is created.
        graph: the text of another dvc.yaml to commit there; the results of the project's own graph are removed.
    """
    subprocess.run(["git", "clone", "--quiet", PROJECT, folder], check=True)
    git(folder, "checkout", "--quiet", "-B", "main", git(PROJECT, "rev-parse", "HEAD"))
    git(folder, "config", "user.name", "Benchmark")
    git(folder, "config", "user.email", "benchmark@example.org")
    if graph is not None:
        (folder / "dvc.yaml").write_text(graph, encoding="utf-8")
        for name in _MADE:
            path = folder / name
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        commit(folder, "Another graph")
    return folder


def commit(folder: Path, message: str) -> None:
    """Commit all changes in the clone `folder`."""
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", message)


def git(folder: Path, *arguments: str) -> str:
    """The output of git in `folder`."""
    return subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def timed(
    folder: Path, command: list[str], url: str | None = None, home: Path | None = None
) -> tuple[float, list[str]]:
    """Run `command` in the clone `folder`, and return the seconds that it takes and the lines that it prints.

    Args:
        folder: where it runs, with the code of the clone.
        command: must have the exit code 0.
        url: of the Prefect server that it reports to.
        home: PREFECT_HOME.

    Raises:
        RuntimeError: it failed; with the end of its output.
    """
    environment = with_source(folder)
    environment |= {"PREFECT_API_URL": url} if url else {}
    environment |= {"PREFECT_HOME": str(home)} if home else {}
    lines: list[str] = []
    started = time.monotonic()
    with Processes(folder, environment) as processes:
        code = processes.run(command, lines.append)
        seconds = time.monotonic() - started
    if code:
        raise RuntimeError("\n".join([f"{' '.join(command)}: exit code {code}", *lines[-20:]]))
    return seconds, lines


@contextmanager
def server(home: Path) -> Iterator[str]:
    """Run a Prefect server with an empty database in the new folder `home`; yields its API address."""
    home.mkdir()
    port = free_port()
    url = f"http://{HOST}:{port}/api"
    environment = {"PREFECT_HOME": str(home), "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    service = Service("server", ["server", "start", "--host", HOST, "--port", str(port)], environment)
    try:
        service.wait_until(lambda: answers(url))
        yield url
    finally:
        service.stop()
        shutil.rmtree(home)


def free_port() -> int:
    """A free port on 127.0.0.1."""
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        return int(listener.getsockname()[1])
