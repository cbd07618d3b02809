"""What `make ui` starts in a small project, once for all tests of it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

GRAPH = """
stages:
  pretrain:
    cmd: echo done > model.txt
    params: [pretrain.name]
    outs: [model.txt]
  evaluate:
    cmd: >-
      mkdir -p metrics; echo '{"accuracy": 0.5}' > metrics/evaluate.json
    deps: [model.txt]
    metrics: [{metrics/evaluate.json: {cache: false}}]
  endless:
    cmd: 'trap "echo saved > saved; exit 75" TERM; echo $$ > endless.pid; while :; do sleep 0.1; done'
    outs: [endless.txt]
"""


class UI:
    """A user of the UI, by the API that the UI uses."""

    def __init__(self, url: str, process: "subprocess.Popen[str]", project: Path):
        self.url, self.process, self.project = url, process, project

    def post(self, path: str, values: Any) -> httpx.Response:
        while (answer := httpx.post(f"{self.url}/api/{path}", json=values, timeout=60)).status_code == 503:
            time.sleep(0.1)  # SQLite is busy; Prefect's client and UI repeat the request, too
        return answer

    def get(self, path: str) -> Any:
        return httpx.get(f"{self.url}/api/{path}", timeout=60).json()

    def deployment(self, name: str) -> Any:
        return self.get(f"deployments/name/pipeline/{name}")

    def start(self, **parameters: Any) -> Any:
        answer = self.post(f"deployments/{self.deployment('cpu')['id']}/create_flow_run", {"parameters": parameters})
        assert answer.is_success, answer.text
        return answer.json()

    def state(self, run: Any) -> Any:
        return self.get(f"flow_runs/{run['id']}")["state"]

    def ended(self, run: Any) -> Any:
        while (state := self.state(run))["type"] not in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED"):
            assert self.process.poll() is None
            time.sleep(0.2)
        return state


@pytest.fixture(scope="session")
def ui(
    tmp_path_factory: pytest.TempPathFactory, make_project: Callable[..., Path], free_port: Callable[[], int]
) -> Iterator[UI]:
    project = make_project(tmp_path_factory.mktemp("ui"), GRAPH)
    port = free_port()
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PREFECT_")}
    command = [sys.executable, "flows/ui.py", "--port", str(port)]
    with subprocess.Popen(command, cwd=project, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            said = [process.stdout.readline(), process.stdout.readline()]
            assert said[1].startswith(f"http://127.0.0.1:{port} is up, with a cpu worker"), said
            yield UI(f"http://127.0.0.1:{port}", process, project)
        finally:
            process.send_signal(signal.SIGINT)
