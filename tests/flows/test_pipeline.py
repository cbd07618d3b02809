"""The flow on a real server and a real DVC project: its tasks, states, messages and artifacts."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.sorting import TaskRunSort
from prefect.settings import PREFECT_API_URL

from graph import read_graph
from pipeline import PROJECT, artifact_key, cause, pipeline, table_rows

pytestmark = pytest.mark.xdist_group("prefect")
FLOW = PROJECT / "flows" / "pipeline.py"
DIAMOND = {"begin", "side@left", "side@right", "end"}


class Seen:
    """What the server knows of the last run."""

    def __init__(self, state: Any):
        self.state = state
        run_id = state.state_details.flow_run_id
        run = FlowRunFilterId(any_=[run_id])
        with get_client(sync_client=True) as client:
            tasks = client.read_task_runs(
                flow_run_filter=FlowRunFilter(id=run), limit=100, offset=0, sort=TaskRunSort.ID_DESC
            )
            # The client's own call sends what the server's schema refuses.
            found = client.request(
                "POST", "/artifacts/filter", json={"artifacts": {"flow_run_id": {"any_": [str(run_id)]}}}
            )
        self.artifacts = {each["key"]: each["data"] for each in found.json()}
        self.tasks = {task.name: task for task in tasks}
        names = {task.id: task.name for task in tasks}
        self.edges = {
            task.name: tuple(sorted(names[each.id] for each in task.task_inputs.get("wait_for", []))) for task in tasks
        }
        self.states = {task.name: task.state.name for task in tasks}


@pytest.fixture(scope="module")
def first(server: None, project: Path) -> Seen:
    """The first run of everything but the endless stage."""
    return Seen(pipeline(["end", "after"], project=project, return_state=True))


def test_there_is_a_task_for_each_stage_and_an_edge_for_each_of_dvcs(first: Seen, project: Path) -> None:
    stages = read_graph(project)
    assert first.edges == {address: stage.upstream for address, stage in stages.items() if address != "endless"}


def test_independent_stages_run_side_by_side(first: Seen) -> None:
    assert first.states["side@left"] == first.states["side@right"] == "Completed"  # they end only if they met


def test_a_failed_stage_says_why_and_nothing_runs_behind_it(first: Seen, project: Path) -> None:
    assert first.states["broken"] == "Failed"
    assert first.tasks["broken"].state.message == "broken: begin.txt: too short"
    assert first.tasks["after"].state.is_pending()
    assert not (project / "after.txt").exists()
    assert first.state.is_failed()
    assert first.state.message == "broken: begin.txt: too short; 1 more did not run"


def test_a_failure_does_not_stop_what_does_not_need_it(first: Seen) -> None:
    assert first.states["end"] == "Completed"


def test_metrics_and_report_are_artifacts(first: Seen) -> None:
    assert set(first.artifacts) == {"metrics-adapt-train-on", "reports-report"}
    assert '{"metric": "accuracy", "value": 0.5}' in first.artifacts["metrics-adapt-train-on"]
    assert first.artifacts["reports-report"] == "# The report\n"


def test_a_second_run_shows_every_stage_as_cached(first: Seen, project: Path) -> None:
    again = Seen(pipeline(["end"], project=project, slots=1, return_state=True))
    assert again.states == dict.fromkeys(DIAMOND, "Cached")
    assert again.state.message == "4 stages, 4 of them cached"


def test_a_stage_restored_from_the_run_cache_is_cached(first: Seen, project: Path) -> None:
    (project / "left.txt").unlink()
    lock = (project / "dvc.lock").read_text()
    (project / "dvc.lock").unlink()
    try:
        assert Seen(pipeline(["side@left"], project=project, return_state=True)).states["side@left"] == "Cached"
    finally:
        (project / "dvc.lock").write_text(lock)


def test_force_runs_what_is_up_to_date(first: Seen, project: Path) -> None:
    assert Seen(pipeline(["begin"], project=project, force=True, return_state=True)).states == {"begin": "Completed"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_no_process_behind(
    first: Seen, project: Path, is_gone: Callable[[int], bool], number: int
) -> None:
    environment = {**os.environ, "PREFECT_API_URL": PREFECT_API_URL.value()}
    pid_file = project / "endless.pid"
    with subprocess.Popen([sys.executable, FLOW, "endless", "--project", project], env=environment) as run:
        try:
            while not (pid_file.exists() and pid_file.read_text().strip()):
                assert run.poll() is None, "the flow ended before its stage began"
                time.sleep(0.1)
            run.send_signal(number)
            assert run.wait(60) != 0
        finally:
            run.kill()
    pid = int(pid_file.read_text())
    pid_file.unlink()
    assert is_gone(pid)


def test_without_a_server_one_is_started_for_the_run(first: Seen, project: Path, tmp_path: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PREFECT_API")}
    environment["PREFECT_HOME"] = str(tmp_path)
    run = subprocess.run(
        [sys.executable, FLOW, "end", "--project", project], env=environment, capture_output=True, text=True, cwd="/"
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "Starting temporary server" in run.stderr + run.stdout
    assert run.stdout.endswith("Completed: 4 stages, 4 of them cached\n")


def test_the_cause_is_the_stages_own_error_before_dvcs() -> None:
    of_dvc = "ERROR: failed to reproduce 'a': failed to run: x, exited with 3"
    assert cause(["error: too short", "bye", of_dvc]) == "too short"
    assert cause(["bye", of_dvc]) == "failed to reproduce 'a': failed to run: x, exited with 3"
    assert cause([]) == "it said nothing"


def test_artifact_keys_are_lower_case_words_with_dashes() -> None:
    assert artifact_key("metrics/adapt/Train_on.json") == "metrics-adapt-train-on"


def test_nested_metrics_become_rows() -> None:
    assert table_rows({"a": {"b": [1, float("nan")]}, "c": "x"}) == [
        {"metric": "a.b.0", "value": 1},
        {"metric": "a.b.1", "value": "nan"},
        {"metric": "c", "value": "x"},
    ]
