"""The flow on a real server and a real DVC project: its tasks, states, messages and artifacts."""

import contextvars
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import pytest
from dvc.repo import Repo
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    FlowRunFilter,
    FlowRunFilterId,
    LogFilter,
    LogFilterFlowRunId,
)
from prefect.client.schemas.objects import TaskRun
from prefect.client.schemas.sorting import ArtifactSort, TaskRunSort
from prefect.exceptions import ParameterTypeError

import pipeline as flow_module
from concurrency import ConcurrencySlots, create_limits
from graph import read_graph
from pipeline import pipeline
from processes import Stopped

pytestmark = pytest.mark.xdist_group("prefect")
DIAMOND = {"begin", "side@left", "side@right", "end"}


def is_recorded(tasks: list[TaskRun], known: Collection[str]) -> bool:
    """Whether names and last states of all task runs have reached the server, which takes them from a queue of events.

    The last state of a task run is final, or pending where one that it waits for did not complete.
    """
    completed = {task.id for task in tasks if task.state is not None and task.state.is_completed()}
    return all(
        task.name in known
        and task.state is not None
        and (task.state.is_final() or any(each.id not in completed for each in task.task_inputs.get("wait_for", [])))
        for task in tasks
    )


class Seen:
    """The state of a flow run on the server."""

    def __init__(self, state: Any):
        self.state = state
        run_id = state.state_details.flow_run_id
        run = FlowRunFilterId(any_=[run_id])
        with get_client(sync_client=True) as client:
            known = read_graph(flow_module.PROJECT)
            while True:
                tasks = client.read_task_runs(
                    flow_run_filter=FlowRunFilter(id=run), limit=100, offset=0, sort=TaskRunSort.ID_DESC
                )
                if is_recorded(tasks, known):
                    break
                time.sleep(0.1)
            of_run = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run_id]))
            found = client.read_artifacts(artifact_filter=of_run, limit=100, offset=0, sort=ArtifactSort.KEY_DESC)
        self.run_id = run_id
        self.artifacts = {each.key: each.data for each in found}
        self.in_graph = {each.key for each in found if each.task_run_id}
        self.tasks = {task.name: task for task in tasks}
        names = {task.id: task.name for task in tasks}
        self.edges = {
            task.name: tuple(sorted(names[each.id] for each in task.task_inputs.get("wait_for", []))) for task in tasks
        }
        self.states = {task.name: task.state.name for task in tasks}

    def log(self, wanted: str) -> str:
        """The run's log, once it contains `wanted`: logs reach the server with a delay."""
        filter_ = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[self.run_id]))
        with get_client(sync_client=True) as client:
            while True:
                text = "\n".join(entry.message for entry in client.read_logs(filter_, limit=200, offset=0))
                if wanted in text:
                    return text
                time.sleep(0.1)


@pytest.fixture(scope="module", autouse=True)
def here(project: Path) -> Iterator[None]:
    """The flow runs in the small project."""
    patch = pytest.MonkeyPatch()
    patch.setattr(flow_module, "PROJECT", project)
    yield
    patch.undo()


@pytest.fixture(scope="module")
def first(server: None, project: Path) -> Seen:
    """The first flow run, of all stages but those that wait for a test."""
    return Seen(pipeline(targets=["end", "after", "full", "validate"], return_state=True))


def test_each_stage_is_a_task_run_that_waits_for_its_upstream_stages(first: Seen, project: Path) -> None:
    stages = read_graph(project)
    left_out = {"endless", "patient", "behind", "preempted"}
    assert first.edges == {address: stage.upstream for address, stage in stages.items() if address not in left_out}


def test_independent_stages_run_in_parallel(first: Seen) -> None:
    assert first.states["side@left"] == first.states["side@right"] == "Completed"  # each waits for the other


def test_a_failed_stage_has_its_reason_and_nothing_downstream_runs(first: Seen, project: Path) -> None:
    assert first.states["broken"] == "Failed"
    assert first.tasks["broken"].state.message == "broken: begin.txt: too short"
    assert first.tasks["broken"].run_count == 1
    assert first.tasks["after"].state.is_pending()
    assert not (project / "after.txt").exists()
    assert first.state.is_failed()
    assert "broken: begin.txt: too short" in first.state.message
    assert first.state.message.endswith("; 1 more did not run")


def test_a_full_disk_is_reported_with_what_to_do(first: Seen) -> None:
    assert str(first.tasks["full"].state.message).endswith(
        "No space left on device; free some space, perhaps by `dvc gc --workspace`, and run again"
    )


def test_a_failure_does_not_stop_independent_stages(first: Seen) -> None:
    assert first.states["end"] == "Completed"


def test_metrics_report_figures_progress_and_data_docs_are_artifacts(first: Seen, project: Path) -> None:
    assert set(first.artifacts) == {
        "metrics-adapt-train-on",
        "metrics-evaluate",
        "beside-the-baseline",
        "reports-report",
        "reports-pictures-a",
        "progress-end",
        "reports-data-docs-source",
    }
    assert '{"metric": "accuracy", "value": 0.5}' in first.artifacts["metrics-adapt-train-on"]
    assert first.artifacts["reports-report"] == "# The report\n"
    said = first.artifacts["beside-the-baseline"]
    assert "finetune: 90.0 % of 180 source test images are right" in said
    assert "BELOW it (-9.0 to -1.0 points); models/baseline is the better choice; or try more labels" in said
    assert first.artifacts["reports-pictures-a"] == "data:image/png;base64,cGljdHVyZQ=="
    assert first.in_graph == set(first.artifacts) - {"reports-pictures-a"}, "task runs' figures crowd the graph"
    assert float(first.artifacts["progress-end"]) == 100
    assert (project / "reports/data_docs/source/index.html").as_uri() in first.artifacts["reports-data-docs-source"]


def test_the_output_of_a_stage_is_in_the_log_and_why_it_ran(first: Seen) -> None:
    log = first.log("left met right")
    assert "left met right" in log
    assert "why it runs: begin ran before it, dependency begin.txt deleted, output left.txt deleted" in log


def test_a_second_run_shows_every_stage_as_cached(first: Seen) -> None:
    again = Seen(pipeline(targets=["end"], return_state=True))
    assert again.states == dict.fromkeys(DIAMOND, "Cached")
    assert again.state.message == "4 stages, 4 of them cached"
    assert again.artifacts["reports-report"] == "# The report\n"


def test_a_stage_restored_from_the_run_cache_is_cached(first: Seen, project: Path) -> None:
    (project / "left.txt").unlink()
    lock = (project / "dvc.lock").read_text()
    (project / "dvc.lock").unlink()
    try:
        assert Seen(pipeline(targets=["side@left"], return_state=True)).states["side@left"] == "Cached"
    finally:
        (project / "dvc.lock").write_text(lock)


def test_force_runs_what_is_up_to_date(first: Seen) -> None:
    assert Seen(pipeline(targets=["begin"], force=True, return_state=True)).states == {"begin": "Completed"}


def test_a_preempted_training_is_retried(first: Seen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow_module, "RETRY_DELAYS", [0.1])
    seen = Seen(pipeline(targets=["preempted"], return_state=True))
    assert seen.states == {"preempted": "Completed"}
    assert seen.tasks["preempted"].run_count == 2


def test_an_unknown_target_fails_with_the_known_ones(first: Seen) -> None:
    state = pipeline(targets=["nonsense"], return_state=True)
    assert state.is_failed()
    assert "nonsense: no such stage (there are: after, begin, " in state.message


def test_a_graph_that_dvc_cannot_read_fails_with_dvcs_message(first: Seen, project: Path) -> None:
    before = (project / "dvc.lock").read_text()
    (project / "dvc.lock").write_text("<<<<<<< HEAD\n")
    try:
        state = pipeline(targets=["begin"], return_state=True)
    finally:
        (project / "dvc.lock").write_text(before)
    assert state.is_failed()
    assert "dvc.lock' validation failed" in state.message


def test_a_stage_whose_concurrency_limit_is_missing_does_not_run(first: Seen, project: Path) -> None:
    with get_client(sync_client=True) as client:
        client.delete_global_concurrency_limit_by_name("cpu")
    try:
        state = pipeline(targets=["begin"], force=True, return_state=True)
    finally:
        create_limits({"cpu": 4})
    assert state.is_failed()
    assert "the server has no concurrency limit 'cpu'; create it with `python flows/setup.py`" in state.message


def test_a_slot_is_waited_for_and_the_wait_ends_with_the_run(server: None) -> None:
    create_limits({"lathe": 1}, exclusive=True)
    log, over, order = logging.getLogger("test"), threading.Event(), []
    slots = ConcurrencySlots(threading.Event())

    def second() -> None:
        with slots.hold("lathe", log):
            order.append("second")

    def third() -> None:
        with pytest.raises(Stopped), ConcurrencySlots(over).hold("lathe", log):
            order.append("never")

    # Prefect's settings are context variables, which a new thread does not inherit.
    threads = [threading.Thread(target=contextvars.copy_context().run, args=(each,)) for each in (second, third)]
    with slots.hold("lathe", log):
        for thread in threads:
            thread.start()
        time.sleep(1)
        over.set()
        threads[1].join()
        order.append("first")
    threads[0].join()
    assert order == ["first", "second"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_no_process_behind(
    first: Seen, server: Any, project: Path, is_gone: Callable[[int], bool], number: int
) -> None:
    environment = {**os.environ, "PREFECT_API_URL": server.url}
    pid_file = project / "endless.pid"
    with subprocess.Popen([sys.executable, project / "flows/pipeline.py", "endless"], env=environment) as run:
        try:
            while not (pid_file.exists() and pid_file.read_text().strip()):
                assert run.poll() is None, "the flow run ended before its stage started"
                time.sleep(0.1)
            run.send_signal(number)
            assert run.wait() != 0
        finally:
            run.kill()
    pid = int(pid_file.read_text())
    pid_file.unlink()
    assert is_gone(pid)


def test_without_a_server_one_is_started_for_the_run(first: Seen, project: Path, tmp_path: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PREFECT_API")}
    environment["PREFECT_HOME"] = str(tmp_path)
    run = subprocess.run(
        [sys.executable, project / "flows/pipeline.py", "end"], env=environment, capture_output=True, text=True, cwd="/"
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "Starting temporary server" in run.stderr + run.stdout
    assert run.stdout.endswith("Completed: 4 stages, 4 of them cached\n")


def test_another_graph_of_the_checkout_runs_in_its_folder(server: None, project: Path) -> None:
    """As benchmarks/zoo: a DVC repository of its own in the checkout."""
    folder = project / "benchmarks/board"
    folder.mkdir(parents=True)
    Repo.init(str(folder.parent), no_scm=True)
    stages = "{one: {cmd: 'echo $PYTHONPATH > one.txt', outs: [one.txt]}, other: {cmd: 'false', outs: [other.txt]}}"
    (folder / "dvc.yaml").write_text(f"stages: {stages}")
    state = pipeline(targets=["one"], project="benchmarks/board", return_state=True)
    assert state.is_completed(), state.message
    assert (folder / "one.txt").read_text().split(":")[0].strip() == str(project / "src")
    assert not (folder / "other.txt").exists()
    again = pipeline(targets=["one"], project="benchmarks/board", return_state=True)
    assert again.message == "1 stages, 1 of them cached"


def test_no_folder_outside_the_checkout_is_a_graph(server: None) -> None:
    with pytest.raises(ParameterTypeError, match="project"):
        pipeline(project="../elsewhere")
