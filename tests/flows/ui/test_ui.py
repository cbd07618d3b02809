"""`make ui`: a server, a worker and the deployments, as a user of the UI uses them."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

pytestmark = pytest.mark.xdist_group("prefect")
ROOT = Path(__file__).parents[3]


def test_the_deployments_are_those_of_the_file(ui: Any) -> None:
    declared = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    found = ui.post("deployments/filter", {}).json()
    assert {each["name"] for each in found} == {each["name"] for each in declared}
    for each in found:
        assert each["description"]
        assert "repflow" in each["tags"]
        assert each["concurrency_options"]["collision_strategy"] == "ENQUEUE"
        assert each["work_pool_name"] in ("cpu", "gpu")
        assert [schedule["active"] for schedule in each["schedules"]] in ([False], [])
    assert {pool["name"] for pool in ui.post("work_pools/filter", {}).json()} == {"cpu", "gpu"}
    limits = {each["name"]: each["limit"] for each in ui.post("v2/concurrency_limits/filter", {}).json()}
    assert (limits["cpu"], limits["gpu"]) == (len(os.sched_getaffinity(0)), 1)


def test_the_server_listens_on_127_0_0_1_only(ui: Any) -> None:
    family = [psutil.Process(ui.process.pid), *psutil.Process(ui.process.pid).children(recursive=True)]
    listening = [
        connection.laddr.ip
        for process in family
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert listening
    assert set(listening) == {"127.0.0.1"}


def test_the_form_has_drop_downs(ui: Any) -> None:
    schema = ui.deployment("cpu")["parameter_openapi_schema"]
    assert "rotation" in schema["definitions"]["Choices"]["properties"]["pretrain"]["enum"]
    assert schema["properties"]["targets"]["items"]["enum"] == ["endless", "evaluate", "pretrain"]
    assert ui.deployment("gpu")["parameters"]["choices"] == {"hardware": "gpu"}


@pytest.mark.parametrize(
    "parameters",
    [
        {"choices": {"pretrain": "../../x"}},
        {"choices": {"pretrain": "$(touch here)"}},
        {"choices": {"source_images": "../../etc"}},
        {"choices": {"seed": -1}},
        {"choices": {"seed": {"__prefect_kind": "json", "value": "-1"}}},
        {"choices": {"_target_": "os.system"}},
        {"targets": ["$(touch here)"]},
        {"name": "../x"},
        {"name": {"__prefect_kind": "jinja", "template": "{{ '../x' }}"}},
        {"project": "/etc"},
    ],
    ids=json.dumps,
)
def test_the_server_refuses_what_the_form_does_not_offer(ui: Any, parameters: dict[str, Any]) -> None:
    answer = ui.post(f"deployments/{ui.deployment('cpu')['id']}/create_flow_run", {"parameters": parameters})
    assert answer.status_code in (409, 422), answer.text


def test_a_run_cannot_name_its_command_its_folder_or_its_variables(ui: Any, tmp_path: Path) -> None:
    path = f"deployments/{ui.deployment('cpu')['id']}/create_flow_run"
    variables = {"command": f"touch {tmp_path}/here", "working_dir": "/", "env": {"PATH": str(tmp_path)}}
    answer = ui.post(path, {"parameters": {"targets": ["pretrain"]}, "job_variables": variables})
    if answer.is_success:
        assert ui.ended(answer.json())["type"] == "COMPLETED"
    assert not list(tmp_path.iterdir())


def test_the_form_left_alone_brings_the_checkout_up_to_date(ui: Any) -> None:
    state = ui.ended(ui.start(targets=["evaluate"]))
    assert (state["type"], (ui.project / "model.txt").exists()) == ("COMPLETED", True)


def test_another_choice_makes_an_isolated_run(ui: Any, git: Callable[..., str]) -> None:
    parameters = (ui.project / "params.yaml").read_text()
    run = ui.start(choices={"pretrain": "rotation"}, targets=["evaluate"])
    state = ui.ended(run)
    assert (state["type"], state["message"]) == (
        "COMPLETED",
        "2 stages, 1 of them cached; committed on run/pretrain-rotation",
    )
    assert ui.get(f"flow_runs/{run['id']}")["name"] == "pretrain-rotation"
    assert git(ui.project, "log", "-1", "--format=%s", "run/pretrain-rotation") == (
        "run pretrain-rotation: pretrain=rotation"
    )
    assert (ui.project / "params.yaml").read_text() == parameters
    found = ui.post("artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [run["id"]]}}}).json()
    assert {"metrics-evaluate", "run-commit"} <= {each["key"] for each in found}
    assert "pretrain.name: 'simclr' -> 'rotation'" in next(e["data"] for e in found if e["key"] == "run-commit")


def endless(ui: Any, run: Any, folder: Path) -> int:
    """The process of the endless stage of `run` in `folder`, when it is at work."""
    while not ((folder / "endless.pid").exists() and (folder / "endless.pid").read_text().strip()):
        assert ui.process.poll() is None
        assert ui.state(run)["type"] in ("SCHEDULED", "PENDING", "RUNNING")
        time.sleep(0.1)
    return int((folder / "endless.pid").read_text())


def test_a_cancelled_run_saves_and_ends(ui: Any) -> None:
    run = ui.start(targets=["endless"])
    pid = endless(ui, run, ui.project)
    ui.post(f"flow_runs/{run['id']}/set_state", {"state": {"type": "CANCELLING", "name": "Cancelling"}})
    while psutil.pid_exists(pid):
        assert ui.process.poll() is None
        time.sleep(0.05)
    assert ui.ended(run)["type"] == "CANCELLED"
    assert (ui.project / "saved").exists()
    (ui.project / "endless.pid").unlink()


def test_the_end_leaves_no_process_behind(ui: Any) -> None:
    run = ui.start(name="last", targets=["endless"])
    pid = endless(ui, run, ui.project / ".repflow/runs/last")
    family = [psutil.Process(ui.process.pid), *psutil.Process(ui.process.pid).children(recursive=True)]
    assert len(family) >= 5
    assert ui.state(run)["type"] == "RUNNING"
    ui.process.send_signal(signal.SIGINT)
    assert ui.process.wait() == 0
    _, alive = psutil.wait_procs([each for each in family if each.is_running()], timeout=20)
    assert not alive
    assert not psutil.pid_exists(pid)
    # The cancelled run can be resumed: its worktree is there.
    assert (ui.project / ".repflow/runs/last/saved").exists()


def test_a_port_in_use_is_reported(make_project: Callable[..., Path], tmp_path: Path) -> None:
    import socket

    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        done = subprocess.run(
            [sys.executable, ROOT / "flows/ui.py", "--port", str(port)], capture_output=True, text=True
        )
    assert done.returncode == 1
    assert (
        done.stderr
        == f"error: port {port}: Address already in use; is a server running? For another port: make ui PORT=...\n"
    )
