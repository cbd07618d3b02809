"""Mixture of pretext tasks: train one encoder on several pretext tasks, each with its own head.

Doersch, Zisserman. Multi-task Self-Supervised Visual Learning. ICCV 2017. Weights by uncertainty are those of Kendall,
Gal, Cipolla. Multi-Task Learning Using Uncertainty to Weigh Losses for Scene Geometry and Semantics. CVPR 2018; weights
by gradients follow Chen, Badrinarayanan, Lee, Rabinovich. GradNorm: Gradient Normalization for Adaptive Loss Balancing
in Deep Multitask Networks. ICML 2018.
"""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from repflow.data.read.batches import Batches, Stream
from repflow.encoders import Encoder
from repflow.errors import ParameterError
from repflow.methods.parts.distributed import gathered
from repflow.methods.parts.shared_encoder import with_shared_encoder
from repflow.methods.registry import find_method
from repflow.randomness.draws import Draw
from repflow.schema import Positive, build, parameters
from repflow.training.contract import EncoderMethod, Losses


@parameters
class Task:
    """One task of the mixture.

    Attributes:
        name: of a method in `pretext`, with a single update per step.
        settings: of that method.
        weight: of its loss, before balancing.
    """

    name: str
    settings: dict[str, Any] = Field(default_factory=dict)
    weight: Positive = 1.0


@parameters
class Config:
    """The parameters of the mixture.

    Attributes:
        tasks: trained on the same images.
        balance: "fixed" leaves the weights as they are. "uncertainty" learns a variance for each task, by whose inverse
            its loss is weighted. "gradients" weights losses so that their gradients have the same norm at the
            encoder's last layer.
    """

    tasks: tuple[Task, ...] = Field(min_length=1)
    balance: Literal["fixed", "uncertainty", "gradients"] = "uncertainty"


class MixtureOfPretextTasks(EncoderMethod):
    """The shared encoder with the heads of all tasks."""

    streams = ("unlabelled",)

    def __init__(self, config: Config, encoder: Encoder):
        super().__init__(encoder)
        self.config = config
        self.tasks = nn.ModuleDict({task.name: _build_task(task, encoder) for task in config.tasks})
        if len(self.tasks) < len(config.tasks):
            raise ParameterError("settings.tasks: a task is listed twice")
        if config.balance == "uncertainty":
            self.log_variances = nn.Parameter(torch.zeros(len(config.tasks)))

    def losses(self, batch: Batches, draw: Draw) -> Losses:
        """The weighted sum of the tasks' losses."""
        found = {name: task.losses(batch, draw.stream(name)) for name, task in self._tasks()}
        metrics = {name: each.total for name, each in found.items()}
        metrics |= {f"{name}_{key}": value for name, each in found.items() for key, value in each.metrics.items()}
        given = [task.weight for task in self.config.tasks]
        losses = torch.stack([weight * each.total for weight, each in zip(given, found.values(), strict=True)])  # [T]
        if self.config.balance == "fixed":
            return Losses(losses.sum(), metrics)
        uncertain = self.config.balance == "uncertainty"
        weights = (-self.log_variances).exp() if uncertain else self.gradient_weights(losses)  # [T]
        metrics |= {f"{name}_weight": weight for name, weight in zip(found, weights.detach(), strict=True)}
        return Losses((weights * losses).sum() + (self.log_variances.sum() / 2 if uncertain else 0), metrics)

    def gradient_weights(self, losses: Tensor) -> Tensor:
        """Weights [T], of mean 1, that equalise the gradient norms of the losses [T] at the encoder's last layer."""
        last = [weight for weight in self.encoder.parameters() if weight.ndim > 1][-1]
        norms = [torch.autograd.grad(loss, last, retain_graph=True)[0].norm() for loss in losses]
        weights = 1 / gathered(torch.stack(norms)[None]).mean(0).clamp(min=1e-8)
        return weights / weights.mean()

    def begin(self, streams: Mapping[str, Stream], draw: Draw) -> None:
        """Call the hook of all tasks."""
        for name, task in self._tasks():
            task.begin(streams, draw.stream(name))

    def refresh(self, step: int, streams: Mapping[str, Stream], draw: Draw) -> None:
        """Call the hook of all tasks."""
        for name, task in self._tasks():
            task.refresh(step, streams, draw.stream(name))

    def after_step(self) -> None:
        """Call the hook of all tasks."""
        for _, task in self._tasks():
            task.after_step()

    def finish(self, streams: Mapping[str, Stream]) -> None:
        """Call the hook of all tasks."""
        for _, task in self._tasks():
            task.finish(streams)

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Load every task's own state first, as a task may have to add parameters."""
        for name, task in self._tasks():
            start = f"tasks.{name}."
            own = {key.removeprefix(start): value for key, value in state_dict.items() if key.startswith(start)}
            task.load_state_dict(own, strict, assign)
        return super().load_state_dict(state_dict, strict, assign)

    def _tasks(self) -> list[tuple[str, EncoderMethod]]:
        return list(self.tasks.items())  # type: ignore[arg-type]


def _build_task(task: Task, encoder: Encoder) -> EncoderMethod:
    """Build the method of a task on the shared encoder."""
    kind, settings = find_method("pretext", task.name)
    where = f"settings.tasks.{task.name}"
    method = with_shared_encoder(kind, build(settings, task.settings, where), encoder)
    if len(method.updates) > 1 or method.streams != ("unlabelled",):
        raise ParameterError(f"{where}: only methods with one update per step on unlabelled images can be mixed")
    return method
