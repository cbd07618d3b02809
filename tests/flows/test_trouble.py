"""What a run makes of trouble that is not its own: nothing is lost, and what happened is said."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.xdist_group("prefect")


def flow(project: Path, server: Any, *arguments: str) -> "subprocess.Popen[str]":
    """The flow as a process of its own."""
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
    run = flow(project, server, "patient")
    try:
        wait_for(project / "patient.here", run)
        server.process.kill()
        server.process.wait()
        (project / "go.on").touch()
        while not (project / "patient.txt").exists():
            time.sleep(0.1)
        time.sleep(3)
        assert run.poll() is None
        server.start()
        said, _ = run.communicate()
    finally:
        run.kill()
        if server.process.poll() is not None:
            server.start()
        forget(project, "go.on", "patient.here")
    assert run.returncode == 0, said
    assert said.endswith("Completed: 1 stages, 0 of them cached\n")


def test_a_run_waits_for_another_that_is_at_work_in_the_checkout(server: Any, project: Path) -> None:
    forget(project, "patient.txt")
    first = flow(project, server, "patient", "--force")
    second = None
    try:
        wait_for(project / "patient.here", first)
        second = flow(project, server, "patient")
        assert second.stdout is not None
        line = next(line for line in second.stdout if "waits for another run that is at work in" in line)
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
        assert f"another DVC process is at work on the same files: (PID {terminal.pid}): " in line
        (project / "go.on").touch()
        assert run.communicate()[0].endswith("Completed: 1 stages, 1 of them cached\n")
        assert terminal.wait() == 0
    finally:
        terminal.kill()
        if run is not None:
            run.kill()
        forget(project, "go.on", "patient.here")


def test_a_lock_that_a_killed_dvc_left_is_no_obstacle(
    server: Any, project: Path, is_gone: Callable[[int], bool]
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
    again = flow(project, server, "patient", "--force")
    said, _ = again.communicate()
    forget(project, "go.on", "patient.here")
    assert again.returncode == 0, said
