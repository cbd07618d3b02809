"""Failures outside the flow run: nothing is lost, and what happened is reported."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

import pipeline as flow_module
from concurrency import ServerUnavailable, create_limits
from pipeline import pipeline
from setup import create_pools
from ui import cancel_runs, is_online

pytestmark = pytest.mark.xdist_group("prefect")


def flow(project: Path, server: Any, *arguments: str) -> "subprocess.Popen[str]":
    """The flow in a process of its own."""
    environment = {**os.environ, "PREFECT_API_URL": server.url}
    command = [sys.executable, str(project / "flows/pipeline.py"), *arguments]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def wait_for(path: Path, run: "subprocess.Popen[str]") -> None:
    while not path.exists():
        assert run.poll() is None, run.stdout.read() if run.stdout else ""
        time.sleep(0.1)


def forget(project: Path, *names: str) -> None:
    for name in names:
        (project / name).unlink(missing_ok=True)


def test_a_server_that_goes_away_and_comes_back_loses_nothing(server: Any, project: Path) -> None:
    run = flow(project, server, "behind")
    try:
        wait_for(project / "patient.here", run)
        server.process.kill()
        server.process.wait()
        (project / "go.on").touch()
        while not (project / "patient.txt").exists():
            time.sleep(0.1)
        time.sleep(3)
        assert run.poll() is None
        assert not (project / "behind.txt").exists()  # it needs a concurrency slot of the server
        server.start()
        said, _ = run.communicate()
    finally:
        run.kill()
        if server.process.poll() is not None:
            server.start()
        forget(project, "go.on", "patient.here")
    assert run.returncode == 0, said
    assert said.endswith("Completed: 2 stages, 0 of them cached\n")


def test_a_run_waits_for_another_that_is_at_work_in_the_checkout(server: Any, project: Path) -> None:
    forget(project, "patient.txt")
    first = flow(project, server, "patient", "--force")
    second = None
    try:
        wait_for(project / "patient.here", first)
        second = flow(project, server, "patient")
        assert second.stdout is not None
        line = next(line for line in second.stdout if "waits for another flow run in" in line)
        assert str(project) in line
        (project / "go.on").touch()
        assert second.communicate()[0].endswith("Completed: 1 stages, 1 of them cached\n")
        first.communicate()
        assert (first.returncode, second.returncode) == (0, 0)
    finally:
        for run in (first, second):
            if run is not None:
                run.kill()
        forget(project, "go.on", "patient.here")


def test_a_dvc_at_a_terminal_is_waited_for_and_named(server: Any, project: Path) -> None:
    forget(project, "patient.txt")
    command = [sys.executable, "-m", "dvc", "repro", "--single-item", "--force", "patient"]
    terminal = subprocess.Popen(command, cwd=project, stdout=subprocess.DEVNULL)
    run = None
    try:
        while not (project / "patient.here").exists():
            time.sleep(0.1)
        run = flow(project, server, "patient")
        assert run.stdout is not None
        line = next(line for line in run.stdout if "waits: " in line)
        assert f"another DVC process holds a lock on the same files: (PID {terminal.pid}): " in line
        (project / "go.on").touch()
        assert run.communicate()[0].endswith("Completed: 1 stages, 1 of them cached\n")
        assert terminal.wait() == 0
    finally:
        terminal.kill()
        if run is not None:
            run.kill()
        forget(project, "go.on", "patient.here")


def test_a_lock_that_a_killed_dvc_left_is_no_obstacle(
    server: Any, project: Path, is_gone: Callable[[int], bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    forget(project, "patient.txt")
    run = flow(project, server, "patient", "--force")
    try:
        wait_for(project / "patient.here", run)
    finally:
        run.kill()
        run.communicate()
    holder = (project / ".dvc/tmp/rwlock").read_text()
    assert "patient.txt" in holder
    pid = int(holder.split('"pid": ')[1].split(",")[0])
    assert is_gone(pid)
    (project / "go.on").touch()
    monkeypatch.setattr(flow_module, "PROJECT", project)
    again = pipeline(targets=["patient"], force=True, return_state=True)
    forget(project, "go.on", "patient.here")
    assert again.is_completed(), again.message


def test_a_run_ends_with_its_killed_worker(
    server: Any, project: Path, tmp_path: Path, is_gone: Callable[[int], bool]
) -> None:
    forget(project, "patient.txt")
    environment = {**os.environ, "PREFECT_API_URL": server.url, "REPFLOW_PROJECT": str(project)}
    subprocess.run([sys.executable, project / "flows/setup.py"], env=environment, check=True)
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", "cpu"]
    log = tmp_path / "worker.log"
    with get_client(sync_client=True) as client, open(log, "w") as output:
        deployment = client.read_deployment_by_name("pipeline/cpu")
        run = client.create_flow_run_from_deployment(deployment.id, parameters={"targets": ["patient"]})
        worker = subprocess.Popen(
            command, env={**environment, "PREFECT_WORKER_QUERY_SECONDS": "1"}, stdout=output, stderr=output
        )
        try:
            while not (project / "patient.here").exists():
                assert worker.poll() is None, log.read_text()
                time.sleep(0.1)
        finally:
            worker.kill()
            worker.wait()
        holder = (project / ".dvc/tmp/rwlock").read_text()
        assert is_gone(int(holder.split('"pid": ')[1].split(",")[0]))
        while not (state := client.read_flow_run(run.id).state).is_final():
            time.sleep(0.1)
        assert state.is_crashed()
        filter_ = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run.id]))
        wanted = "the worker was killed; start the run again"
        while not any(entry.message.startswith(wanted) for entry in client.read_logs(filter_, 200, 0)):
            time.sleep(0.1)
    forget(project, "patient.here")


def test_where_no_server_answers_one_line_says_so(project: Path, free_port: Callable[[], int]) -> None:
    url = f"http://127.0.0.1:{free_port()}/api"
    environment = {**os.environ, "PREFECT_API_URL": url}
    command = [sys.executable, project / "flows/setup.py"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"error: {url}: no Prefect server answers there (")
    assert done.stderr.count("\n") == 1


def test_a_server_that_asks_for_a_password_gets_it(guarded: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with temporary_settings({PREFECT_API_URL: guarded.url}):
        with pytest.raises(ServerUnavailable, match=r"refuses the request \(Unauthorized\); set PREFECT_API_AUTH"):
            create_limits({"cpu": 1})
        assert not is_online(guarded.url, "cpu-1")
        monkeypatch.setenv("PREFECT_API_AUTH_STRING", "team:secret")
        with temporary_settings({PREFECT_API_AUTH_STRING: "team:secret"}):
            create_limits({"cpu": 1})
            create_pools()
            with get_client(sync_client=True) as client:
                client.request("POST", "/work_pools/cpu/workers/heartbeat", json={"name": "cpu-1"})
        assert is_online(guarded.url, "cpu-1")
        cancel_runs(guarded.url)


def test_the_checkout_runs_dirty_detached_and_without_a_commit(
    server: Any,
    make_project: Callable[[Path, str], Path],
    git: Callable[..., str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    project = make_project(tmp_path / "project", "stages: {one: {cmd: echo 1 > one.txt, outs: [one.txt]}}\n")
    monkeypatch.setattr(flow_module, "PROJECT", project)
    git(project, "checkout", "--quiet", "--detach")
    (project / "params.yaml").write_text((project / "params.yaml").read_text() + "# mine\n")
    assert pipeline(return_state=True).message == "1 stages, 0 of them cached"
    git(project, "symbolic-ref", "HEAD", "refs/heads/unborn")
    assert pipeline(force=True, return_state=True).message == "1 stages, 0 of them cached"
    state = pipeline(name="beside", return_state=True)
    assert state.is_failed()
    assert "the repository has no commit to start from; commit first: git add --all" in state.message
