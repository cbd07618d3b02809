"""The one loop."""

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from repflow.data.batches import Batches, Stream
from repflow.data.rows import Rows
from repflow.draw import Draw, seeded
from repflow.errors import Diverged
from repflow.method import Losses, Method
from repflow.training.config import TrainingConfig
from repflow.training.cost import Meter
from repflow.training.curves import Curve
from repflow.training.optimisation import averaged, build_optimizer, rate_factor, set_rate
from repflow.training.progress import Progress

if TYPE_CHECKING:
    from lightning_fabric import Fabric

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


def train(
    method: Method,
    rows: Mapping[str, Rows],
    config: TrainingConfig,
    fabric: "Fabric",
    *,
    seed: int,
    title: str = "train",
    validate: Validate | None = None,
    observe: Observe | None = None,
    meter: Meter | None = None,
) -> Trained:
    """Train `method` in place; afterwards it holds the weights to keep, in evaluation mode on the CPU.

    Args:
        method: what to train.
        rows: the rows of each stream that the method names.
        config: how.
        fabric: devices and precision, from `prepare`.
        seed: of all draws.
        title: for the progress.
        validate: scores what was learned; needed for early stopping, and looked at every `early_stopping.every` steps.
        observe: told of every validation.
        meter: of what it costs.

    Raises:
        Diverged: the loss became infinite or no number.
        DataError: a stream has no rows.
    """
    streams = {name: Stream(name, rows[name], fabric.device) for name in method.streams}
    sizes = {name: method.batch_size(name, config.batch_size) for name in method.streams}
    optimizer = build_optimizer(method, config.optimizer)
    module, optimizer = fabric.setup(method, optimizer)
    average = averaged(method.learned, config.ema) if config.ema is not None else None
    keeper = _Keeper(config, method, average, validate, observe)
    trained = keeper.trained
    progress = Progress(title, config.steps)
    pending: list[Losses] = []
    meter = meter or Meter()
    method.train()
    for step in range(config.steps):
        with meter.waiting():
            batches = {name: stream.at(step, sizes[name], seed) for name, stream in streams.items()}
        set_rate(optimizer, rate_factor(config.schedule, step, config.steps))
        # Layers that draw, such as dropout, take from PyTorch's global generator.
        with meter.counting():
            with seeded(seed, "layers", step):
                losses = module(Batches(batches, step / config.steps), Draw(seed, "step", step, fabric.device))
            optimizer.zero_grad()
            fabric.backward(losses.total)
        if config.clip is not None:
            fabric.clip_gradients(module, optimizer, max_norm=config.clip, error_if_nonfinite=False)
        optimizer.step()
        method.after_step()
        if average is not None:
            average.update_parameters(method.learned)
        pending.append(_detached(losses))
        trained.steps = step + 1
        trained.images += sum(sizes.values())
        last = trained.steps == config.steps
        if trained.steps % config.log_every == 0 or last:
            point = _point(trained.steps, pending, optimizer.param_groups[-1]["lr"])
            trained.curve.append(point)
            pending = []
            progress.show(trained.steps, point["loss"], trained.images)
        meter.stepped(sum(sizes.values()), fabric.world_size)
        if not keeper.goes_on(last):
            break
    progress.close()
    trained.flops = meter.cost().flops
    keeper.restore()
    method.eval()
    with torch.no_grad():
        method.finish(streams)
    method.to("cpu")
    return trained


class _Keeper:
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

    def restore(self) -> None:
        """Give the method the weights to keep."""
        if self._best is None:
            self.trained.best_step = self.trained.steps
        self._method.learned.load_state_dict(self._best or self._candidate.state_dict())


def _detached(losses: Losses) -> Losses:
    return Losses(losses.total.detach(), {name: value.detach() for name, value in losses.metrics.items()})


def _point(step: int, losses: list[Losses], rate: float) -> dict[str, float]:
    """The mean of the losses since the last point."""
    total = torch.stack([each.total for each in losses]).mean().item()
    if not math.isfinite(total):
        raise Diverged(f"the loss is {total} at step {step}; lower training.optimizer.learning_rate or set clip")
    point = {"step": float(step), "loss": total, "learning_rate": rate}
    for name in losses[-1].metrics:
        point[name] = torch.stack([each.metrics[name].float() for each in losses]).mean().item()
    return point
