"""Validation during a training, early stopping, and the weights to keep."""

import copy
import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from repflow.training.checkpoints import State
from repflow.training.config import TrainingConfig
from repflow.training.contract import Method
from repflow.training.curves import Curve


@dataclass(frozen=True)
class Score:
    """A validation score.

    Attributes:
        value: the share of `rows` that is right, in [0, 1].
        rows: number of validation rows.
    """

    value: float
    rows: int

    @property
    def standard_error(self) -> float:
        """Of the value, of which one right and one wrong row more are counted, so that 0 and 1 have one, too."""
        share = (self.value * self.rows + 1) / (self.rows + 2)
        return math.sqrt(share * (1 - share) / (self.rows + 2))


Validate = Callable[[nn.Module], Score]
"""Scores the module that a method trains on source validation rows only; higher is better."""

Observe = Callable[[int, float], bool]
"""A callback with the step and the score of every validation; training stops when it returns False."""


@dataclass
class TrainingResult:
    """The result of a training, besides the method's weights.

    Attributes:
        curve: the points of the training curves.
        steps: steps trained; fewer than configured after early stopping.
        best_step: the step of the weights that are kept.
        best_score: validation score at `best_step`; None without validation.
        images: number of training images processed, over all streams.
        flops: floating-point operations, as `training.cost.Meter.counting_flops` counts them.
    """

    curve: Curve = field(default_factory=list)
    steps: int = 0
    best_step: int = 0
    best_score: float | None = None
    images: int = 0
    flops: int = 0


class BestWeights:
    """Validates periodically, stores the best weights and decides on early stopping."""

    def __init__(
        self,
        config: TrainingConfig,
        method: Method,
        average: Any,
        validate: Validate | None,
        observe: Observe | None,
    ):
        self.trained = TrainingResult()
        self._stopping, self._validate, self._observe = config.early_stopping, validate, observe
        self._every = config.early_stopping.every if config.early_stopping and config.early_stopping.every else 1
        self._method, self._average = method, average
        self._best: dict[str, Tensor] | None = None
        self._highest: Score | None = None
        self._without_improvement = 0

    def state(self) -> State:
        """The state for a checkpoint."""
        return {
            "trained": dataclasses.asdict(self.trained),
            "best": self._best,
            "highest": self._highest and dataclasses.astuple(self._highest),
            "without_improvement": self._without_improvement,
        }

    def restore(self, state: State) -> None:
        """Restore the state of a checkpoint."""
        for name, value in state["trained"].items():
            setattr(self.trained, name, value)
        self._best, self._without_improvement = state["best"], state["without_improvement"]
        self._highest = state["highest"] and Score(*state["highest"])

    @property
    def _current(self) -> nn.Module:
        current: nn.Module = self._average.module if self._average is not None else self._method.learned
        return current

    def should_continue(self, last: bool) -> bool:
        """Validate if a validation is due; False if training is to be stopped early."""
        if self._validate is None or self._stopping is None:
            return True
        if self.trained.steps % self._every and not last:
            return True
        module = self._current.eval()
        with torch.no_grad():
            score = self._validate(module)
        self._method.train()
        self._record(score, module)
        if self._observe is not None and not self._observe(self.trained.steps, score.value):
            return False
        return self._without_improvement < self._stopping.patience

    def _record(self, score: Score, module: nn.Module) -> None:
        curve = self.trained.curve
        if not curve or curve[-1]["step"] != self.trained.steps:
            curve.append({"step": self.trained.steps})
        curve[-1]["validation"] = score.value
        tolerance = self._stopping.tolerance if self._stopping else 0.0
        highest = self._highest
        higher = highest is None or score.value > highest.value
        if highest is not None and not higher and score.value < highest.value - tolerance * highest.standard_error:
            self._without_improvement += 1
            return
        if higher:
            self._highest = score
        if higher or tolerance:
            self.trained.best_score, self.trained.best_step = score.value, self.trained.steps
            self._best = copy.deepcopy(module.state_dict())
            self._without_improvement = 0
        else:
            self._without_improvement += 1  # as high as before is no improvement

    def load_best(self) -> None:
        """Load the best weights, or the last ones without validation, into the method."""
        if self._best is None:
            self.trained.best_step = self.trained.steps
        self._method.learned.load_state_dict(self._best or self._current.state_dict())
