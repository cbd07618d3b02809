"""The objectives of a search: accuracy first, optionally further scores, and the Pareto front of both."""

from collections.abc import Sequence
from typing import Literal

from optuna.trial import FrozenTrial, TrialState, create_trial

from repflow.stages.searching.config import FurtherScore

Direction = Literal["maximize", "minimize"]

DIRECTIONS: dict[FurtherScore, Direction] = {"f1": "maximize", "worst_recall": "maximize", "ece": "minimize"}
"""Direction of each further objective; accuracy is maximised."""


def directions(further: Sequence[FurtherScore]) -> list[Direction]:
    """The directions of accuracy and the further objectives."""
    return ["maximize", *(DIRECTIONS[name] for name in further)]


def accuracy(trial: FrozenTrial) -> float | None:
    """The accuracy of a trial: its first objective; for a pruned trial its last score; None for a failed trial."""
    if trial.values:
        return float(trial.values[0])
    if trial.state == TrialState.PRUNED and trial.intermediate_values:
        return float(trial.intermediate_values[max(trial.intermediate_values)])
    return None


def best_trial(trials: Sequence[FrozenTrial], further: Sequence[FurtherScore] = ()) -> FrozenTrial | None:
    """The complete trial with the highest accuracy; None if there is none.

    Ties are resolved by the further objectives in order, then by the lowest number. So it is on the Pareto front.
    """
    signs = [1 if direction == "maximize" else -1 for direction in directions(further)]
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]

    def rank(trial: FrozenTrial) -> tuple[float, ...]:
        return (*(sign * value for sign, value in zip(signs, trial.values, strict=True)), -trial.number)

    return max(complete, key=rank, default=None)


def pareto_front(trials: Sequence[FrozenTrial], further: Sequence[FurtherScore]) -> set[int]:
    """The numbers of the complete trials on the Pareto front, which no other trial dominates."""
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


def single_objective(trial: FrozenTrial) -> FrozenTrial:
    """The trial with accuracy as its only objective."""
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
