"""One Prefect server for all tests of the flows, and a small DVC project."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prefect.testing.utilities import prefect_test_harness

GRAPH = """
stages:
  begin:
    cmd: echo 1 > begin.txt
    outs: [begin.txt]
  side:  # each waits for the other: one alone never ends well
    foreach: {left: right, right: left}
    do:
      cmd: >-
        touch ${key}.here;
        for i in $(seq 900); do test -e ${item}.here && break; sleep 0.1; done;
        test -e ${item}.here && echo "${key} met ${item}" && cp begin.txt ${key}.txt
      deps: [begin.txt]
      outs: ['${key}.txt']
  end:
    cmd: >-
      cat left.txt right.txt > end.txt; mkdir -p metrics/adapt reports;
      echo '{"accuracy": 0.5, "classes": {"A": [1, NaN]}}' > metrics/adapt/Train_on.json;
      echo '# The report' > reports/report.md
    deps: [left.txt, right.txt]
    outs: [end.txt, {reports/report.md: {cache: false}}]
    metrics: [{metrics/adapt/Train_on.json: {cache: false}}]
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
"""


@pytest.fixture(scope="session")
def server() -> Iterator[None]:
    """A Prefect server on an empty database."""
    with prefect_test_harness(server_startup_timeout=120):
        yield


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DVC project: a diamond whose sides must overlap, a stage that fails, one behind it, and one that never ends."""
    folder = tmp_path_factory.mktemp("project")
    subprocess.run(["git", "init", "--quiet", str(folder)], check=True)
    subprocess.run([sys.executable, "-m", "dvc", "init", "--quiet"], cwd=folder, check=True)
    subprocess.run([sys.executable, "-m", "dvc", "config", "core.analytics", "false"], cwd=folder, check=True)
    (folder / "dvc.yaml").write_text(GRAPH)
    return folder


@pytest.fixture(scope="session")
def is_gone() -> Callable[[int], bool]:
    """Whether the process with a number ends within a while."""

    def gone(pid: int) -> bool:
        for _ in range(200):
            try:
                os.kill(pid, 0)
                if Path(f"/proc/{pid}/stat").read_text().split(")")[-1].split()[0] == "Z":
                    return True
            except (ProcessLookupError, FileNotFoundError):
                return True
            time.sleep(0.05)
        return False

    return gone
