"""A search is deterministic with any number of workers, and after any number of kills."""

import dataclasses
import functools
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from repflow.errors import RepflowError
from repflow.stages.searching.config import PrunerConfig
from repflow.stages.searching.journal import exclusive_folder
from repflow.stages.searching.objectives import best_trial
from repflow.stages.searching.study import Search
from repflow.stages.searching.workers import Workers

pytestmark = pytest.mark.xdist_group("study")  # one worker runs the undisturbed search for all tests here


@pytest.fixture(scope="module")
def objectives():
    import objectives

    return objectives


@pytest.fixture(scope="module")
def search(objectives):
    """Runs a search with its journal in a folder, and returns everything about its trials except times."""

    def run(folder: Path, workers: int = 2, prepare: Any = None, **changes: Any) -> list[dict[str, Any]]:
        config = dataclasses.replace(objectives.CONFIG, **changes)
        study = Search(config, objectives.SPACE, objectives.DEFAULT, 0, folder / "journal.log")
        with Workers(workers, prepare or objectives.bowl) as pool:
            trials = study.run(pool)
        return [
            {
                "state": trial.state.name,
                "value": trial.value,
                "params": trial.params,
                "scores": trial.intermediate_values,
                "why": trial.user_attrs,
            }
            for trial in trials
        ]

    return run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the undisturbed search leaves its journal."""
    return tmp_path_factory.mktemp("undisturbed")


@pytest.fixture(scope="module")
def undisturbed(search, folder: Path) -> list[dict[str, Any]]:
    return search(folder, 1)


def test_parallel_workers_change_nothing(search, objectives, undisturbed, tmp_path: Path) -> None:
    assert search(tmp_path, 3, functools.partial(objectives.bowl, 0.1)) == undisturbed


def test_a_search_learns_and_prunes(undisturbed, objectives) -> None:
    states = [trial["state"] for trial in undisturbed]
    assert undisturbed[0]["params"] == objectives.DEFAULT
    assert states[:4] == ["COMPLETE"] * 4
    assert "PRUNED" in states[4:]
    assert all(len(trial["scores"]) == objectives.STEPS for trial in undisturbed if trial["state"] == "COMPLETE")
    assert all(1 < len(trial["scores"]) < objectives.STEPS for trial in undisturbed if trial["state"] == "PRUNED")
    assert len({str(trial["params"]) for trial in undisturbed}) == len(undisturbed)
    assert max(trial["value"] for trial in undisturbed if trial["state"] == "COMPLETE") > undisturbed[0]["value"]


def test_another_seed_tries_other_points(search, objectives, undisturbed, tmp_path: Path) -> None:
    other = Search(objectives.CONFIG, objectives.SPACE, objectives.DEFAULT, 1, tmp_path / "journal.log")
    assert other.ask([], range(4)) != {number: undisturbed[number]["params"] for number in range(4)}


def test_killed_searches_end_like_an_undisturbed_one(search, objectives, undisturbed, tmp_path: Path) -> None:
    journal = tmp_path / "journal.log"

    def trials() -> int:  # every process that opens the study adds a line of its own
        return journal.read_bytes().count(b'"state":') if journal.exists() else 0

    for most in (2, 6):  # in the middle of a batch
        running = subprocess.Popen([sys.executable, objectives.__file__, str(journal), "0", str(most)])
        while trials() < most:
            assert running.poll() is None
            time.sleep(0.01)
        running.kill()
        running.wait()
        assert trials() == most
    assert search(tmp_path) == undisturbed


@pytest.mark.parametrize("kept", [1, 6, 12])
def test_a_search_resumes_from_a_truncated_journal(
    search, undisturbed, folder: Path, tmp_path: Path, kept: int
) -> None:
    journal = tmp_path / "journal.log"
    lines = (folder / "journal.log").read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[: kept + 1]) + lines[-1][:40])
    (tmp_path / "journal.log.lock").symlink_to(journal)
    assert search(tmp_path) == undisturbed


def test_neighbours_in_a_batch_do_not_prune_each_other(search, objectives, tmp_path: Path) -> None:
    states = [trial["state"] for trial in search(tmp_path, 1, batch=12, pruner=PrunerConfig(startup=0))]
    assert states == ["COMPLETE"] * 12


def test_without_a_pruner_every_trial_is_complete(search, tmp_path: Path) -> None:
    states = [trial["state"] for trial in search(tmp_path, pruner=PrunerConfig(name="none"))]
    assert states == ["COMPLETE"] * 12


def test_a_diverging_trial_fails_alone(search, objectives, tmp_path: Path) -> None:
    trials = search(tmp_path, prepare=functools.partial(objectives.diverging, 0.05))
    failed = [trial for trial in trials if trial["state"] == "FAIL"]
    assert failed
    assert len(failed) < len(trials) == 12
    assert all(trial["value"] is None and "nan" in trial["why"]["reason"] for trial in failed)


def test_a_search_without_any_result_says_why(search, objectives, tmp_path: Path) -> None:
    with pytest.raises(RepflowError, match="all 12 trials failed: the loss is nan at step 3"):
        search(tmp_path, prepare=functools.partial(objectives.diverging, 0.0))


def test_no_batch_begins_when_the_time_is_over(search, tmp_path: Path) -> None:
    assert len(search(tmp_path, time=1e-6)) == 4


def test_the_earliest_of_equals_is_the_best(undisturbed, objectives, folder: Path) -> None:
    trials = Search(objectives.CONFIG, objectives.SPACE, objectives.DEFAULT, 0, folder / "journal.log").finished
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    for trial in complete:
        trial.value = 0.5
    assert best_trial(trials) is complete[0]


def test_two_processes_never_share_a_search(tmp_path: Path) -> None:
    with exclusive_folder(tmp_path), pytest.raises(RepflowError, match="another process"), exclusive_folder(tmp_path):
        pass
