"""One Prefect server for all tests of the flows, and a small DVC project."""

import contextlib
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import httpx
import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from concurrency import create_limits

ROOT = Path(__file__).parents[2]
GRAPH = """
stages:
  begin:
    cmd: echo 1 > begin.txt
    outs: [begin.txt]
  side:  # each waits for the other: they complete only if they run in parallel
    foreach: {left: right, right: left}
    do:
      cmd: >-
        touch ${key}.here;
        until test -e ${item}.here; do sleep 0.1; done;
        echo "${key} met ${item}" && cp begin.txt ${key}.txt
      deps: [begin.txt]
      outs: ['${key}.txt']
  end:
    cmd: >-
      cat left.txt right.txt > end.txt; mkdir -p metrics/adapt reports/pictures;
      echo '{"accuracy": 0.5, "classes": {"A": [1, NaN]}}' > metrics/adapt/Train_on.json;
      echo '{"rows": {"source": 180}, "baseline": {"source": {"accuracy": 0.95, "low": 0.91, "high": 0.98}},
      "finetune": {"source": {"accuracy": 0.9, "low": 0.85, "high": 0.94},
      "over_baseline": {"value": -0.05, "low": -0.09, "high": -0.01, "beyond": false}}}' > metrics/evaluate.json;
      echo '# The report' > reports/report.md; printf picture > reports/pictures/a.png;
      head -c 500000 /dev/zero > reports/pictures/large.png;
      echo 'end: step 1/4, loss 1'; echo 'end: step 4/4, loss 0'
    deps: [left.txt, right.txt]
    outs: [end.txt, reports/pictures, {reports/report.md: {cache: false}}]
    metrics: [{metrics/adapt/Train_on.json: {cache: false}}, {metrics/evaluate.json: {cache: false}}]
  broken:
    cmd: 'echo starting; echo "error: begin.txt: too short" >&2; echo bye; exit 3'
    deps: [begin.txt]
    outs: [broken.txt]
  after:
    cmd: cp broken.txt after.txt
    deps: [broken.txt]
    outs: [after.txt]
  endless:
    cmd: sleep 1000 & echo $! > endless.pid; wait
    outs: [endless.txt]
  full:
    cmd: head -c 5 /dev/zero > /dev/full  # whatever the shell: the `echo` of some says "I/O error"
    outs: [full.txt]
  patient:  # ends when the file go.on exists
    cmd: touch patient.here; until test -e go.on; do sleep 0.1; done; echo done > patient.txt
    outs: [patient.txt]
  behind:
    cmd: cp patient.txt behind.txt
    deps: [patient.txt]
    outs: [behind.txt]
  preempted:  # saves a checkpoint and exits with 75 the first time, completes the second
    cmd: 'test -e saved || { touch saved; exit 75; }; echo done > preempted.txt'
    outs: [preempted.txt]
  validate:
    foreach: {source: 1}
    do:
      cmd: 'mkdir -p reports/data_docs/${key}; touch reports/data_docs/${key}/index.html; echo > ${key}.json'
      outs: ['${key}.json']
"""


class Server:
    """A Prefect server on 127.0.0.1.

    Args:
        home: its folder, with its database.
        settings: environment variables to set.

    Attributes:
        empty: a copy of the database as it was when the server had just started.
    """

    DATABASE = "prefect.db"

    def __init__(self, home: Path, settings: Mapping[str, str] | None = None):
        self.home, self.port, self.settings = home, _free_port(), dict(settings or {})
        home.mkdir(parents=True, exist_ok=True)
        self.log, self.empty = home / "server.log", home / "empty.db"
        self.start()
        with (
            contextlib.closing(sqlite3.connect(home / self.DATABASE)) as tables,
            contextlib.closing(sqlite3.connect(self.empty)) as copy,
        ):
            tables.backup(copy)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/api"

    def start(self) -> None:
        environment = {key: value for key, value in os.environ.items() if not key.startswith("PREFECT_")}
        environment |= {
            "PREFECT_HOME": str(self.home),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
            **self.settings,
        }
        command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(self.port)]
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        while not self.answers():
            assert self.process.poll() is None, self.log.read_text()[-2000:]
            time.sleep(0.1)

    def answers(self) -> bool:
        with contextlib.suppress(httpx.HTTPError):
            return httpx.get(f"{self.url}/health", timeout=5).is_success
        return False

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@pytest.fixture(scope="session")
def free_port() -> Callable[[], int]:
    """Returns a free port on 127.0.0.1."""
    return _free_port


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A Prefect server on an empty database, with four CPU slots and one GPU slot."""
    started = Server(tmp_path_factory.mktemp("prefect"))
    try:
        with temporary_settings({PREFECT_API_URL: started.url}):
            create_limits({"cpu": 4, "gpu": 1})
            yield started
    finally:
        started.stop()


@pytest.fixture
def guarded(server: Server, tmp_path: Path) -> Iterator[Server]:
    """A server that requires a password; it begins with the tables that the other one has made, which takes long."""
    home = tmp_path / "guarded"
    home.mkdir()
    shutil.copy(server.empty, home / Server.DATABASE)
    started = Server(home, {"PREFECT_SERVER_API_AUTH_STRING": "team:secret"})
    try:
        yield started
    finally:
        started.stop()


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with the flows and choices of this one, and a small graph, GRAPH.

    It has a diamond whose sides must overlap, a stage that fails, one downstream of it, and one that never ends.
    """
    return _make_project(tmp_path_factory.mktemp("project"), GRAPH)


@pytest.fixture(scope="session")
def make_project() -> Callable[[Path, str], Path]:
    """Creates a git repository and DVC project in a folder with a graph; see `_make_project`."""
    return _make_project


@pytest.fixture(scope="session")
def git() -> Callable[..., str]:
    """Runs git in a folder, as in `git(folder, "status")`, and returns its output."""
    return _git


def _make_project(folder: Path, graph: str) -> Path:
    """A git repository and DVC project in `folder`, with one commit: the flows and choices of this one, and `graph`."""
    for name in ("conf", "flows"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("params.yaml", "prefect.yaml"):
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, folder / name)
    (folder / "dvc.yaml").write_text(graph)
    (folder / ".gitignore").write_text("__pycache__/\n/.repflow/\n")
    (folder / ".dvcignore").write_text(".repflow\n")
    _git(folder, "init", "--quiet", "--initial-branch=main")
    for key, value in {"user.name": "Tester", "user.email": "tester@example.org"}.items():
        _git(folder, "config", key, value)
    _dvc(folder, "init", "--quiet")
    _dvc(folder, "config", "core.analytics", "false")
    _git(folder, "add", "--all")
    _git(folder, "commit", "--quiet", "--message", "The project")
    return folder


def _git(folder: Path, *arguments: str) -> str:
    """The output of git in `folder`."""
    return subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def _dvc(folder: Path, *arguments: str) -> str:
    """The output of DVC in `folder`."""
    command = [sys.executable, "-m", "dvc", *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture(scope="session")
def is_gone() -> Callable[[int], bool]:
    """Waits for the process with a PID to end; true then."""

    def gone(pid: int) -> bool:
        while True:
            try:
                os.kill(pid, 0)
                if Path(f"/proc/{pid}/stat").read_text().split(")")[-1].split()[0] == "Z":
                    return True
            except (ProcessLookupError, FileNotFoundError):
                return True
            time.sleep(0.05)

    return gone
