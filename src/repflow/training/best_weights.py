"""Validation during a training, early stopping, and the weights to keep."""

import copy
import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from repflow.training.checkpoints import State
from repflow.training.config import TrainingConfig
from repflow.training.contract import Method
from repflow.training.curves import Curve

Validate = Callable[[nn.Module], float]
"""The score of what a method has learned so far, higher is better, from source validation rows alone."""

Observe = Callable[[int, float], bool]
"""Told the step and the score of every validation; training goes on while it answers True."""


@dataclass
class Trained:
    """What a training leaves, besides the method's weights.

    Attributes:
        curve: the points of the curves.
        steps: done, fewer than asked for after an early stop.
        best_step: after which the kept weights were reached.
        best_score: of the validation at `best_step`, None where there was no validation.
        images: seen, of all streams.
        flops: floating-point operations, as `training.cost.Meter.counting` counts them.
    """

    curve: Curve = field(default_factory=list)
    steps: int = 0
    best_step: int = 0
    best_score: float | None = None
    images: int = 0
    flops: int = 0


class Keeper:
    """Looks at the validation now and then, and knows which weights to keep."""

    def __init__(
        self,
        config: TrainingConfig,
        method: Method,
        average: Any,
        validate: Validate | None,
        observe: Observe | None,
    ):
        self.trained = Trained()
        self._stopping, self._validate, self._observe = config.early_stopping, validate, observe
        self._method, self._average = method, average
        self._best: dict[str, Tensor] | None = None
        self._without_improvement = 0

    def state(self) -> State:
        """What was seen so far."""
        return {
            "trained": dataclasses.asdict(self.trained),
            "best": self._best,
            "without_improvement": self._without_improvement,
        }

    def restore(self, state: State) -> None:
        """Go on from a state."""
        for name, value in state["trained"].items():
            setattr(self.trained, name, value)
        self._best, self._without_improvement = state["best"], state["without_improvement"]

    @property
    def _candidate(self) -> nn.Module:
        kept: nn.Module = self._average.module if self._average is not None else self._method.learned
        return kept

    def goes_on(self, last: bool) -> bool:
        """Validate where it is time to, and say whether training goes on."""
        if self._validate is None or self._stopping is None:
            return True
        if self.trained.steps % self._stopping.every and not last:
            return True
        candidate = self._candidate.eval()
        with torch.no_grad():
            score = self._validate(candidate)
        self._method.train()
        self._note(score, candidate)
        if self._observe is not None and not self._observe(self.trained.steps, score):
            return False
        return self._without_improvement < self._stopping.patience

    def _note(self, score: float, candidate: nn.Module) -> None:
        curve = self.trained.curve
        if not curve or curve[-1]["step"] != self.trained.steps:
            curve.append({"step": self.trained.steps})
        curve[-1]["validation"] = score
        if self.trained.best_score is None or score > self.trained.best_score:
            self.trained.best_score, self.trained.best_step = score, self.trained.steps
            self._best = copy.deepcopy(candidate.state_dict())
            self._without_improvement = 0
        else:
            self._without_improvement += 1

    def keep(self) -> None:
        """Give the method the weights to keep."""
        if self._best is None:
            self.trained.best_step = self.trained.steps
        self._method.learned.load_state_dict(self._best or self._candidate.state_dict())
