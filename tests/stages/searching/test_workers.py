"""Worker processes of a search: deaths are noticed, and no process is left behind."""

import functools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from repflow.errors import DataError, RepflowError
from repflow.stages.searching.workers import Outcome, Workers


@pytest.fixture
def objectives():
    import objectives

    return objectives


def outcomes(
    prepare: Callable[..., object], points: dict[int, dict[str, object]], count: int = 2
) -> dict[int, Outcome]:
    with Workers(count, prepare) as workers:
        return dict(workers.outcomes(points, lambda scores: True))


def test_a_killed_process_does_not_change_the_outcomes(objectives, tmp_path: Path) -> None:
    points = {0: objectives.DEFAULT, 1: {**objectives.DEFAULT, "rate": 0.2}, 2: {**objectives.DEFAULT, "rate": 0.3}}
    assert outcomes(functools.partial(objectives.dying, tmp_path, 1), points) == outcomes(objectives.bowl, points)
    assert len(list(tmp_path.iterdir())) == 1


def test_a_trial_that_kills_its_process_twice_ends_the_search(objectives, tmp_path: Path) -> None:
    with pytest.raises(RepflowError, match=r"trial 0 \(rate 0.01, .*died twice, ended by signal 9 \(SIGKILL\)"):
        outcomes(functools.partial(objectives.dying, tmp_path, 2), {0: objectives.DEFAULT})


def test_a_user_error_in_a_process_is_raised_unchanged(objectives) -> None:
    with pytest.raises(DataError, match="not a readable store"):
        outcomes(objectives.without_data, {0: objectives.DEFAULT})


def test_a_programming_error_in_a_process_is_raised_with_its_traceback(objectives) -> None:
    with pytest.raises(RuntimeError, match=r"(?s)Traceback.*ZeroDivisionError: a mistake"):
        outcomes(objectives.broken, {0: objectives.DEFAULT})


def test_no_process_outlives_the_block(objectives) -> None:
    before = psutil.Process().children()
    with pytest.raises(KeyboardInterrupt), Workers(2, functools.partial(objectives.bowl, 2)) as workers:
        list(workers.outcomes({0: objectives.DEFAULT, 1: objectives.DEFAULT}, _interrupt))
    started = [child for child in psutil.Process().children() if child not in before]
    assert [child for child in started if "spawn_main" in _command(child)] == []


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_no_process_outlives_a_search_that_is_ended(objectives, tmp_path: Path, how: signal.Signals) -> None:
    command = [sys.executable, objectives.__file__, str(tmp_path / "journal.log"), "100000", "0"]
    search = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    children = _wait_for_workers(search, tmp_path, 2)
    if how == signal.SIGINT:
        os.killpg(search.pid, how)  # as a terminal does it
    else:
        search.send_signal(how)
    _, errors = search.communicate()
    psutil.wait_procs(children)  # none outlives the search
    assert errors.count("Traceback") == (1 if how == signal.SIGINT else 0)


def _interrupt(scores: object) -> bool:
    raise KeyboardInterrupt


def _wait_for_workers(search: "subprocess.Popen[str]", folder: Path, count: int) -> list[psutil.Process]:
    """All children of a search, once `count` workers have written a file to `folder`."""
    while len(list(folder.glob("at-work-*"))) < count:
        assert search.poll() is None
        time.sleep(0.1)
    return psutil.Process(search.pid).children(recursive=True)


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""
