"""Where it is measured: clones of the last commit, commands that are timed, and a server of one's own."""

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
"""What a graph leaves in git."""


def forget_settings() -> None:
    """Take variables away that would make the runs others than those of a newcomer."""
    for name in [*os.environ]:
        if name.startswith(("PREFECT_", "REPFLOW_", "DVC_")) or name == "PYTHONDONTWRITEBYTECODE":
            del os.environ[name]
    os.environ |= {"DVC_NO_ANALYTICS": "1", "DO_NOT_TRACK": "1", "GX_ANALYTICS_ENABLED": "false"}


def clone(folder: Path, graph: str | None = None) -> Path:
    """The last commit of the project in `folder`, with nothing made yet.

    Args:
        folder: is made.
        graph: the text of another dvc.yaml, which is committed there; what the project's own made is left out.
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
    """Commit all that there is in the clone `folder`."""
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", message)


def git(folder: Path, *arguments: str) -> str:
    """What git prints in `folder`."""
    return subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def timed(
    folder: Path, command: list[str], url: str | None = None, home: Path | None = None
) -> tuple[float, list[str]]:
    """Seconds that `command` takes in the clone `folder`, and the lines that it prints.

    Args:
        folder: where it runs, by the code that is there.
        command: must end with 0.
        url: of the Prefect server that it reports to.
        home: Prefect's folder.

    Raises:
        RuntimeError: it failed; with what it said.
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
    """The address of a Prefect server with an empty database, in the new folder `home`, for the length of the block."""
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
    """A port that nobody listens at."""
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        return int(listener.getsockname()[1])
