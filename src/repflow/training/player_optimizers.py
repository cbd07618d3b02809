"""Who learns in a step, by which optimiser: one learner as a rule, several where a method is a game."""

import contextlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import torch
from torch import nn

from repflow.data.read.batches import Batches
from repflow.randomness.draws import Draw
from repflow.training.config import OptimizerConfig
from repflow.training.contract import Losses, Method, Turn
from repflow.training.optimisation import build_optimizer, set_rate

if TYPE_CHECKING:
    from lightning_fabric import Fabric


class Learners:
    """The parameters of a method that learn, and the optimiser that moves them.

    One optimiser serves all players. Its state and its step count are each parameter's own, so it is what one optimiser
    a player would be.

    Args:
        method: on its device from now on.
        config: of the optimiser.
        fabric: devices and precision.
    """

    def __init__(self, method: Method, config: OptimizerConfig, fabric: "Fabric"):
        self._method, self._config, self._fabric = method, config, fabric
        self._known: list[nn.Parameter] = []
        self.optimizer = self._set_up()

    def _set_up(self) -> torch.optim.Optimizer:
        self._known = _learning(self._method.parameters())
        fresh = build_optimizer(self._method, self._config, fused=self._fabric.device.type == "cuda")
        self._module, wrapped = self._fabric.setup(self._method, fresh)
        optimizer: torch.optim.Optimizer = wrapped.optimizer
        self._wrapped = wrapped
        return optimizer

    def follow(self) -> None:
        """Take in parameters that are new, and forget those that are gone; the others go on as they were."""
        now = _learning(self._method.parameters())
        if len(now) == len(self._known) and all(map(_same, now, self._known)):
            return
        before = self.optimizer.state
        self.optimizer = self._set_up()
        kept = [each for group in self.optimizer.param_groups for each in group["params"] if each in before]
        self.optimizer.state.update({each: before[each] for each in kept})

    def set_rate(self, factor: float) -> None:
        """Let everything learn at `factor` times its peak rate."""
        set_rate(self.optimizer, factor)

    @property
    def rate(self) -> float:
        """The present learning rate."""
        return float(self.optimizer.param_groups[-1]["lr"])

    def play(self, batches: Batches, draw: Draw, clip: float | None, dry: bool = False) -> Losses:
        """Each turn of a step, and what came of them together, without gradients.

        Args:
            batches: of this step.
            draw: random numbers of this step.
            clip: largest norm of the gradient of one turn.
            dry: leave the parameters as they are.
        """
        every = []
        for number, turn in enumerate(self._method.turns):
            self.optimizer.zero_grad()
            with _alone(turn, self._known):
                losses: Losses = self._module(batches, draw.stream(f"turn-{number}") if number else draw, number)
                self._fabric.backward(losses.total)
            every.append(losses)
            if dry:
                continue
            if clip is not None:
                self._fabric.clip_gradients(self._module, self._wrapped, max_norm=clip, error_if_nonfinite=False)
            self._wrapped.step()
        metrics = {name: value.detach() for losses in every for name, value in losses.metrics.items()}
        return Losses(torch.stack([losses.total.detach() for losses in every]).sum(), metrics)


def _learning(parameters: Iterable[nn.Parameter]) -> list[nn.Parameter]:
    return [each for each in parameters if each.requires_grad]


def _same(one: nn.Parameter, other: nn.Parameter) -> bool:
    return one is other


@contextlib.contextmanager
def _alone(turn: Turn, known: list[nn.Parameter]) -> Iterator[None]:
    """Nobody but the turn's learners gets a gradient, which spares the work for the others."""
    learners = {each for module in turn.learns for each in module.parameters()}
    others = [each for each in known if each not in learners]
    for each in others:
        each.requires_grad_(False)
    try:
        yield
    finally:
        for each in others:
            each.requires_grad_(True)
