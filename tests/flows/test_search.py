"""Trials on Dask: the result is that of one process, whichever worker runs which trial and however often one dies."""

import functools
import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect.utilities.callables import parameter_schema

from repflow.errors import RepflowError
from repflow.hardware.cpu import PASSIVE, pinned
from repflow.stages.remote_trials import CheckedPreparation, run_trial
from repflow.stages.searching.study import Search
from repflow.stages.searching.workers import Workers
from search import search

pytestmark = pytest.mark.xdist_group("prefect")
OBJECTIVES = Path(__file__).parents[1] / "stages" / "searching"
FLOWS = Path(__file__).parents[2] / "flows"


@pytest.fixture(autouse=True)
def objectives(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Trials without training, in a module that workers import by name."""
    for folder in (OBJECTIVES, Path(__file__).parent):
        monkeypatch.syspath_prepend(str(folder))
    yield importlib.import_module("objectives")
    sys.modules.pop("objectives")


def known(trials: Any) -> list[Any]:
    return [(trial.state.name, trial.values, trial.params, trial.intermediate_values) for trial in trials]


@pytest.fixture
def on_dask(objectives: Any, tmp_path: Path) -> Any:
    """The trials of a search with two Dask workers."""
    searches = importlib.import_module("searches")
    yield lambda prepare, place: known(searches.on_dask(tmp_path, objectives, prepare, place))
    sys.modules.pop("searches")


def test_trials_on_dask_end_like_those_of_one_process_though_a_worker_dies_and_go_on_from_a_database(
    server: Any, tmp_path: Path, objectives: Any, on_dask: Any
) -> None:
    place = f"sqlite:///{tmp_path}/search.db"
    with Workers(1, objectives.bowl) as pool:
        alone = known(
            Search(objectives.CONFIG, objectives.SPACE, objectives.DEFAULT, 0, tmp_path / "alone.log").run(pool)
        )
    dying = functools.partial(objectives.dying, tmp_path, 1)
    assert on_dask(dying, place) == alone
    assert (tmp_path / "death-0").exists()
    assert {state for state, *_ in alone} == {"COMPLETE", "PRUNED"}
    # No trial is left to run, so the data are not read again.
    with Workers(1, objectives.without_data) as pool:
        assert known(Search(objectives.CONFIG, objectives.SPACE, objectives.DEFAULT, 0, place).run(pool)) == alone


def test_an_error_that_the_user_can_fix_ends_the_search_with_its_message(
    server: Any, tmp_path: Path, objectives: Any, on_dask: Any
) -> None:
    with pytest.raises(RepflowError, match="data/stores/source: not a readable store"):
        on_dask(objectives.without_data, tmp_path / "journal.log")


def test_a_worker_with_other_code_or_data_is_refused(tmp_path: Path, objectives: Any) -> None:
    before = os.getcwd()
    try:
        checked = CheckedPreparation(objectives.bowl, lambda: "here", "there")
        with pytest.raises(RepflowError, match=r"code, parameters or data in .* differ from those of the search"):
            checked()
        outcome = run_trial(tmp_path, objectives.bowl, objectives.DEFAULT, lambda scores: len(scores) < 2)
        assert (outcome.state, list(outcome.step_scores)) == ("pruned", [1, 2])
        assert os.getcwd() == str(tmp_path)
    finally:
        os.chdir(before)


def test_the_form_names_no_cluster_and_no_database() -> None:
    assert set(parameter_schema(search).properties) == {"choices", "name", "workers", "push"}


def test_dask_workers_compute_as_stages_do_and_let_idle_threads_sleep(tmp_path: Path) -> None:
    script = """
import json, os, sys
from pathlib import Path
from distributed import Client, LocalCluster
import search
from trials import task_runner

def variables():
    import os, sys
    return dict(os.environ), "torch" in sys.modules

with LocalCluster(**task_runner(Path(sys.argv[1]), 1).cluster_kwargs) as cluster, Client(cluster) as client:
    print(json.dumps(client.submit(variables).result()))
"""
    chosen = {**pinned(), **PASSIVE}
    environment = {name: value for name, value in os.environ.items() if name not in chosen}
    environment["PYTHONPATH"] = os.pathsep.join(map(str, (FLOWS, FLOWS.parent / "src")))
    command = [sys.executable, "-c", script, str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found, imported = json.loads(done.stdout.splitlines()[-1])
    assert chosen.items() <= found.items()
    assert not imported, "PyTorch was imported before its settings were known to be there"
