"""Figures of a hyperparameter search: its history and the importance of its parameters, byte-identical every time."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import optuna
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial, TrialState

from repflow.stages.searching.objectives import accuracy, single_objective

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SIZE = (7.0, 3.5)  # inches
_SMALL = (4.8, 2.6)
"""Inches; text stays legible when the figure is as wide as a phone screen."""
_MARKS = {
    TrialState.COMPLETE: ("complete", "o", "tab:blue"),
    TrialState.PRUNED: ("pruned", "x", "tab:gray"),
}
"""Label, marker and colour of a trial that has a value, by its state."""


def draw_history(path: Path, trials: Sequence[FrozenTrial]) -> None:
    """Plot the validation accuracy of every trial by its number, and the best so far."""
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # ignore the user's own style
        figure = Figure(figsize=_SIZE, layout="constrained")
        axes = figure.add_subplot(xlabel="trial", ylabel="validation accuracy", title="Search history")
        for state, (label, marker, colour) in _MARKS.items():
            shown = [trial for trial in trials if trial.state == state]
            if shown:
                numbers = [trial.number for trial in shown]
                values = [accuracy(trial) or 0.0 for trial in shown]
                axes.plot(numbers, values, linestyle="", marker=marker, color=colour, label=label)
        best = _best_so_far(trials)
        if best:
            axes.step(
                [number for number, _ in best],
                [value for _, value in best],
                where="post",
                color="tab:orange",
                label="best so far",
            )
        if trials:
            figure.legend(loc="outside right upper")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        _save(figure, path)


def _best_so_far(trials: Sequence[FrozenTrial]) -> list[tuple[int, float]]:
    points: list[tuple[int, float]] = []
    for trial in trials:
        value = accuracy(trial)
        if trial.state == TrialState.COMPLETE and value is not None:
            points.append((trial.number, max([value, *(best for _, best in points[-1:])])))
        elif points:
            points.append((trial.number, points[-1][1]))
    return points


def draw_importance(path: Path, trials: Sequence[FrozenTrial], seed: int) -> None:
    """Plot the fANOVA importance of each hyperparameter, or a text that says why there is none."""
    import matplotlib
    from matplotlib.figure import Figure

    shares = importances(trials, seed)
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        figure = Figure(figsize=_SMALL, layout="constrained")
        axes = figure.add_subplot(title="Hyperparameter importance")
        if shares:
            names = list(shares)[::-1]
            axes.barh(names, [shares[name] for name in names], color="tab:blue")
            axes.set_xlim(0, 1)
            axes.set_xlabel("share of variance (fANOVA)")
        else:
            text = "Needs at least two complete trials\nwith different accuracies."
            axes.text(0.5, 0.5, text, ha="center", va="center")
            axes.set_axis_off()
        _save(figure, path)


def importances(trials: Sequence[FrozenTrial], seed: int) -> dict[str, float]:
    """Hyperparameter to its share of the variance, largest first; empty if all complete trials are equally accurate."""
    complete = [single_objective(trial) for trial in trials if trial.state == TrialState.COMPLETE]
    if len({trial.value for trial in complete}) < 2:
        return {}
    study = optuna.create_study(direction="maximize")
    study.add_trials(complete)
    # Hutter, Hoos, Leyton-Brown. An Efficient Approach for Assessing Hyperparameter Importance. ICML 2014.
    return get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=seed))


def _save(figure: "Figure", path: Path) -> None:
    figure.savefig(path, format="png", dpi=150, metadata={"Software": None})
