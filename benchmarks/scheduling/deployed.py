"""Flow runs of the deployment `pipeline/cpu` on the server and the worker of `make ui`."""

import itertools
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from processes import own_environment, with_source
from scheduling.scratch import free_port
from ui import HOST

_ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


@contextmanager
def ui(project: Path) -> Iterator[str]:
    """The API address of the server that `make ui` starts in `project`."""
    port = free_port()
    command = [sys.executable, "flows/ui.py", "--port", str(port)]
    environment = own_environment() | with_source(project)
    with subprocess.Popen(command, cwd=project, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            said = [*itertools.islice(process.stdout, 2)]
            if len(said) < 2:
                raise RuntimeError(f"flows/ui.py ended with {process.wait()}")
            yield f"http://{HOST}:{port}/api"
        finally:
            process.send_signal(signal.SIGINT)


def queue(api: str, parameters: Mapping[str, Any]) -> str:
    """The id of a new flow run."""
    deployment = httpx.get(f"{api}/deployments/name/pipeline/cpu", timeout=60).raise_for_status().json()["id"]
    created: dict[str, str] = ask(api, f"deployments/{deployment}/create_flow_run", {"parameters": dict(parameters)})
    return created["id"]


def ask(api: str, path: str, values: Mapping[str, Any]) -> Any:
    """The server's answer to a POST request."""
    while (answer := httpx.post(f"{api}/{path}", json=values, timeout=60)).status_code == 503:
        time.sleep(0.1)  # SQLite is busy
    return answer.raise_for_status().json()


def wait_for(api: str, run: str) -> dict[str, Any]:
    """The flow run, once it has ended."""
    while True:
        answer = httpx.get(f"{api}/flow_runs/{run}", timeout=60)
        if answer.is_success and (found := dict(answer.json()))["state_type"] in _ENDED:
            return found
        time.sleep(0.1)


def log(api: str, run: str) -> list[str]:
    """The last lines of a flow run's log."""
    wanted = {"logs": {"flow_run_id": {"any_": [run]}}, "sort": "TIMESTAMP_DESC", "limit": 200}
    return [entry["message"] for entry in ask(api, "logs/filter", wanted)][::-1]
