"""What a search is after: the accuracy first and, where it is asked for, further scores that trade off against it."""

from collections.abc import Sequence
from typing import Literal

from optuna.trial import FrozenTrial, TrialState, create_trial

from repflow.stages.searching.config import Further

Direction = Literal["maximize", "minimize"]

DIRECTIONS: dict[Further, Direction] = {"f1": "maximize", "worst_recall": "maximize", "ece": "minimize"}
"""Of the further objectives; the accuracy is maximised."""


def directions(further: Sequence[Further]) -> list[Direction]:
    """Of the accuracy and the further objectives."""
    return ["maximize", *(DIRECTIONS[name] for name in further)]


def accuracy(trial: FrozenTrial) -> float | None:
    """The first objective of a trial; the last look of one that was given up; None for a failed one."""
    if trial.values:
        return float(trial.values[0])
    if trial.state == TrialState.PRUNED and trial.intermediate_values:
        return float(trial.intermediate_values[max(trial.intermediate_values)])
    return None


def best_trial(trials: Sequence[FrozenTrial], further: Sequence[Further] = ()) -> FrozenTrial | None:
    """The complete trial with the highest accuracy; None where there is none.

    Among equals the one that is better in the first of the further objectives in which they differ, then the earliest.
    So none is better in every objective.
    """
    signs = [1 if direction == "maximize" else -1 for direction in directions(further)]
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]

    def rank(trial: FrozenTrial) -> tuple[float, ...]:
        return (*(sign * value for sign, value in zip(signs, trial.values, strict=True)), -trial.number)

    return max(complete, key=rank, default=None)


def front(trials: Sequence[FrozenTrial], further: Sequence[Further]) -> set[int]:
    """Numbers of the complete trials that no other beats in one objective without being beaten in another."""
    signs = [1 if direction == "maximize" else -1 for direction in directions(further)]
    points = {
        trial.number: [sign * value for sign, value in zip(signs, trial.values, strict=True)]
        for trial in trials
        if trial.state == TrialState.COMPLETE
    }
    return {
        number
        for number, point in points.items()
        if not any(
            other != point and all(theirs >= mine for theirs, mine in zip(other, point, strict=True))
            for other in points.values()
        )
    }


def by_first(trial: FrozenTrial) -> FrozenTrial:
    """The trial as a search by accuracy alone has it."""
    if not trial.values or len(trial.values) == 1:
        return trial
    return create_trial(
        state=trial.state,
        value=trial.values[0],
        params=trial.params,
        distributions=trial.distributions,
        intermediate_values=trial.intermediate_values,
        user_attrs=trial.user_attrs,
    )
