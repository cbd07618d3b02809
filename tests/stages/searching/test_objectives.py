"""Several objectives: the best trial, the Pareto front, and a deterministic search."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial

from repflow.stages.searching.objectives import accuracy, best_trial, pareto_front, single_objective
from repflow.stages.searching.study import Search
from repflow.stages.searching.workers import Workers


def trial(number: int, *values: float) -> FrozenTrial:
    made = create_trial(state=TrialState.COMPLETE, values=values)
    made.number = number
    return made


TRIALS = [trial(0, 0.8, 0.10), trial(1, 0.9, 0.20), trial(2, 0.9, 0.05), trial(3, 0.7, 0.30), trial(4, 0.9, 0.05)]


def test_the_best_is_the_most_accurate_and_among_equals_the_better_calibrated_then_the_earliest() -> None:
    best = best_trial(TRIALS, ["ece"])
    assert best is not None
    assert best.number == 2


def test_the_pareto_front_is_the_set_of_trials_that_no_other_dominates() -> None:
    assert pareto_front(TRIALS, ["ece"]) == {2, 4}
    assert pareto_front([*TRIALS, trial(5, 0.5, 0.01)], ["ece"]) == {2, 4, 5}
    assert pareto_front(TRIALS, ["f1"]) == {1, 3}


def test_the_accuracy_of_a_trial_is_its_first_value_or_its_last_score() -> None:
    assert accuracy(TRIALS[0]) == 0.8
    assert accuracy(create_trial(state=TrialState.PRUNED, intermediate_values={1: 0.1, 5: 0.4})) == 0.4
    assert accuracy(create_trial(state=TrialState.FAIL)) is None
    assert single_objective(TRIALS[1]).values == [0.9]


@pytest.fixture
def run() -> Any:
    import objectives

    def search(place: Path, trials: int) -> Any:
        config = dataclasses.replace(objectives.CONFIG, further=("ece",), trials=trials)
        study = Search(config, objectives.SPACE, objectives.DEFAULT, 0, place)
        with Workers(1, objectives.two_objectives) as pool:
            return [(each.state.name, each.values, each.params) for each in study.run(pool)]

    return search


def test_a_search_for_two_objectives_is_deterministic_and_prunes_by_the_first(run: Any, tmp_path: Path) -> None:
    whole = run(tmp_path / "whole.log", 16)
    assert {state for state, *_ in whole} == {"COMPLETE", "PRUNED"}
    assert all((values is None) == (state == "PRUNED") for state, values, _ in whole)
    run(tmp_path / "parts.log", 8)
    assert run(tmp_path / "parts.log", 16) == whole
