"""Pruning: which trials are stopped before their end."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

from repflow.stages.searching.config import PrunerConfig
from repflow.stages.searching.objectives import single_objective


@dataclass(frozen=True)
class PrunerRule:
    """The pruner's decision, given only the trials `before`. Picklable, so that it can be sent to another machine.

    Attributes:
        config: the pruner.
        before: the trials that were finished before the batch began.
    """

    config: PrunerConfig
    before: Sequence[FrozenTrial]

    def __call__(self, step_scores: Mapping[int, float]) -> bool:
        """Whether a trial with these validation scores by step should continue."""
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        study = optuna.create_study(direction="maximize")
        study.add_trials([single_objective(trial) for trial in self.before])
        trial = create_trial(state=TrialState.RUNNING, intermediate_values=dict(step_scores))
        return not _pruner(self.config).prune(study, trial)


def _pruner(config: PrunerConfig) -> optuna.pruners.BasePruner:
    match config.name:
        case "none":
            return optuna.pruners.NopPruner()
        case "median":
            return optuna.pruners.MedianPruner(config.startup, config.warmup)
        case "percentile":
            return optuna.pruners.PercentilePruner(config.percentile, config.startup, config.warmup)
