"""Prefect's own commands against the server of `make ui`: what an administrator types at a terminal."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.xdist_group("prefect")
PREFECT = Path(sys.executable).with_name("prefect")


def listed(ui: Any, kind: str) -> list[dict[str, Any]]:
    """What `prefect KIND ls` lists; it must end with 0."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PREFECT_")}
    environment |= {"PREFECT_API_URL": f"{ui.url}/api", "PREFECT_HOME": str(ui.project / ".repflow" / "prefect")}
    # As JSON, because a table drops what the terminal has no room for.
    command = [PREFECT, kind, "ls", "--output", "json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def test_prefect_lists_the_deployments(ui: Any) -> None:
    found = {(each["name"], each["work_pool_name"]) for each in listed(ui, "deployment")}
    assert found == {("cpu", "cpu"), ("gpu", "gpu")}


def test_prefect_lists_the_work_pools(ui: Any) -> None:
    assert {each["name"]: each["type"] for each in listed(ui, "work-pool")} == {"cpu": "process", "gpu": "process"}


def test_prefect_lists_the_flows(ui: Any) -> None:
    assert {each["name"] for each in listed(ui, "flow")} == {"pipeline", "search"}


def test_prefect_lists_the_flow_runs(ui: Any) -> None:
    run = ui.start(targets=["pretrain"])
    assert ui.ended(run)["type"] == "COMPLETED"
    found = {each["id"]: each["name"] for each in listed(ui, "flow-run")}
    assert found[run["id"]] == "checkout"
