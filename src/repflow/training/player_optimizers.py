"""The optimiser updates of a training step: one as a rule, one per player in adversarial methods."""

import contextlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from repflow.data.read.batches import Batches
from repflow.randomness.draws import Draw
from repflow.training.config import TrainingConfig
from repflow.training.contract import Losses, Method, Update
from repflow.training.optimisation import FUSED, build_optimizer, drop_frozen_gradients, set_rates

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from torch.amp import GradScaler


class PlayerOptimizers:
    """The trainable parameters of a method, and their optimiser.

    One optimiser serves all players (such as generator and discriminator). As it keeps its state and step count per
    parameter, this is equivalent to one optimiser per player.

    Args:
        method: moved to its device here.
        config: parameters of the training.
        fabric: devices and precision.

    Attributes:
        optimizer: over all of them.
        scaler: of the losses and gradients in half precision, None in others. It skips a step whose gradients are not
            finite.
    """

    def __init__(self, method: Method, config: TrainingConfig, fabric: "Fabric"):
        self._method, self._config, self._fabric = method, config, fabric
        self._known: list[nn.Parameter] = []
        self.scaler: GradScaler | None = getattr(fabric.strategy.precision, "scaler", None)
        self.optimizer = self._set_up()

    def _set_up(self) -> torch.optim.Optimizer:
        self._known = _trainable(self._method.parameters())
        # Fabric cannot clip gradients that a fused optimiser unscales itself.
        fused = self._fabric.device.type in FUSED and self.scaler is None
        fresh = build_optimizer(self._method, self._config.optimizer, fused, self._config.batch_size)
        self._module, wrapped = self._fabric.setup(self._method, fresh)
        optimizer: torch.optim.Optimizer = wrapped.optimizer
        self._wrapped = wrapped
        return optimizer

    def sync_parameters(self) -> None:
        """Add new parameters of the method to the optimiser and remove deleted ones; the others keep their state."""
        now = _trainable(self._method.parameters())
        if len(now) == len(self._known) and all(map(_same, now, self._known)):
            return
        before = self.optimizer.state
        self.optimizer = self._set_up()
        kept = [each for group in self.optimizer.param_groups for each in group["params"] if each in before]
        self.optimizer.state.update({each: before[each] for each in kept})

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load the state of an optimiser over the same parameters."""
        self.optimizer.load_state_dict(state)
        for parameter, moments in self.optimizer.state.items():
            for name, value in moments.items():
                if value.shape == parameter.shape:  # fused kernels take for granted that both lie in memory alike
                    alike = torch.empty_like(parameter, dtype=value.dtype, device=value.device)
                    moments[name] = alike.copy_(value)

    def set_rates(self, step: int, steps: int) -> None:
        """Set learning rates and weight decays for `step` of `steps`."""
        set_rates(self.optimizer, self._config.schedule, step, steps)

    @property
    def rate(self) -> float:
        """The current learning rate, the highest of all groups."""
        return max(float(group["lr"]) for group in self.optimizer.param_groups)

    def step(self, batches: Batches, draw: Draw, dry_run: bool = False) -> Losses:
        """Run all updates of one training step.

        Args:
            batches: of this step.
            draw: random numbers of this step.
            dry_run: compute losses and gradients, without updating the parameters.

        Returns:
            The sum of the losses of all updates, and their metrics, detached.
        """
        every = []
        for number, update in enumerate(self._method.updates):
            self.optimizer.zero_grad()
            with _only_trainable(update, self._known):
                losses: Losses = self._module(batches, draw.stream(f"turn-{number}") if number else draw, number)
                self._fabric.backward(losses.total)
            drop_frozen_gradients(self.optimizer)
            every.append(losses)
            if dry_run:
                continue
            if (clip := self._config.clip) is not None:
                self._fabric.clip_gradients(self._module, self._wrapped, max_norm=clip, error_if_nonfinite=False)
            self._wrapped.step()
        metrics = {name: value.detach() for losses in every for name, value in losses.metrics.items()}
        return Losses(torch.stack([losses.total.detach() for losses in every]).sum(), metrics)


def _trainable(parameters: Iterable[nn.Parameter]) -> list[nn.Parameter]:
    return [each for each in parameters if each.requires_grad]


def _same(one: nn.Parameter, other: nn.Parameter) -> bool:
    return one is other


@contextlib.contextmanager
def _only_trainable(update: Update, known: list[nn.Parameter]) -> Iterator[None]:
    """Freeze all parameters that this update does not change; no gradients are computed for them."""
    own = {each for module in update.modules for each in module.parameters()}
    others = [each for each in known if each not in own]
    for each in others:
        each.requires_grad_(False)
    try:
        yield
    finally:
        for each in others:
            each.requires_grad_(True)
