"""Optimisers, the learning rate as a function of the step, and the average of the weights."""

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from repflow.encoders import Encoder
from repflow.encoders.layers import layers
from repflow.errors import ParameterError
from repflow.training.config import ModuleConfig, OptimizerConfig, ScheduleConfig
from repflow.training.contract import Method

_AS_OTHERS = ModuleConfig()
FUSED = ("cpu", "cuda")
"""Devices with fused optimisers. On a CPU, others take MKL's square root, whose digits depend on the CPU's maker."""


@dataclass(frozen=True)
class _Group:
    """What the parameters of a group have in common.

    Attributes:
        peak: the learning rate at the peak of the schedule.
        decay: the weight decay.
        final_decay: the weight decay at the last step.
        constant: whether the learning rate stays at its peak.
        frozen: share of the training steps in which the parameters do not change.
    """

    peak: float
    decay: float
    final_decay: float
    constant: bool
    frozen: float


def build_optimizer(
    method: Method, config: OptimizerConfig, fused: bool = True, batch_size: int = 1
) -> torch.optim.Optimizer:
    """The optimiser over all that learns in `method`. What its groups learn by stands in them for `set_rates`.

    Args:
        method: what learns.
        config: how.
        fused: take all of a step of Adam or AdamW in one kernel; the device's type is one of `FUSED`.
        batch_size: of the training; without effect unless `rate_for_batch` is set.

    Raises:
        ParameterError: the method has no module of a name in `modules`.
    """
    rates = _Rates(method, config, config.peak(batch_size))
    groups: dict[_Group, list[nn.Parameter]] = {}
    for parameter in method.parameters():
        if parameter.requires_grad and (group := rates.group(parameter)).peak > 0:
            groups.setdefault(group, []).append(parameter)
    described: list[dict[str, Any]] = [
        {"params": members, "lr": group.peak, "weight_decay": group.decay, **asdict(group)}
        for group, members in groups.items()
    ]
    betas = config.momentum, config.second_beta
    match config.name:
        case "sgd":
            nesterov = config.momentum > 0
            # There is no square root here, and the fused kernel fails where parameters join the others later.
            return torch.optim.SGD(described, momentum=config.momentum, nesterov=nesterov, fused=False)
        case "adam":
            return torch.optim.Adam(described, betas=betas, fused=fused)
        case "adamw":
            return torch.optim.AdamW(described, betas=betas, fused=fused)
        case "lars":
            from lightly.utils.lars import LARS

            lars: torch.optim.Optimizer = LARS(described, lr=config.learning_rate, momentum=config.momentum)
            return lars


class _Rates:
    """Which group a parameter belongs to."""

    def __init__(self, method: Method, config: OptimizerConfig, peak: float):
        self._config, self._peak = config, peak
        encoder = getattr(method.learned, "encoder", method.learned)
        self._factors = {id(each): config.encoder_factor for each in encoder.parameters()}
        if config.layer_decay < 1:
            self._decay_by_layer(encoder)
        self._modules: dict[int, ModuleConfig] = {}
        for name in sorted(config.modules, key=len):
            for parameter in _module(method, name).parameters():
                self._modules[id(parameter)] = config.modules[name]

    def _decay_by_layer(self, encoder: nn.Module) -> None:
        found = layers(encoder) if isinstance(encoder, Encoder) else []
        depths = dict.fromkeys(self._factors, 0)  # class token and position embeddings: like the first layer
        for depth, layer in enumerate(found):
            modules = [module for half in layer.modules for module in half]
            depths.update((id(each), depth) for module in modules for each in module.parameters())
        for key, depth in depths.items():
            self._factors[key] *= self._config.layer_decay ** (len(found) - depth)

    def group(self, parameter: nn.Parameter) -> _Group:
        """The group of a parameter."""
        own = self._modules.get(id(parameter), _AS_OTHERS)
        peak = self._peak * self._factors.get(id(parameter), 1.0) * own.factor
        if parameter.ndim <= 1:
            return _Group(peak, 0.0, 0.0, own.constant, own.frozen)
        if own.weight_decay is not None:
            return _Group(peak, own.weight_decay, own.weight_decay, own.constant, own.frozen)
        decay, final = self._config.weight_decay, self._config.final_weight_decay
        return _Group(peak, decay, decay if final is None else final, own.constant, own.frozen)


def _module(method: Method, name: str) -> nn.Module:
    try:
        return method.get_submodule(name)
    except AttributeError:
        names = sorted(name for name, child in method.named_children() if any(True for _ in child.parameters()))
        raise ParameterError(
            f"training.optimizer.modules: this method has no module {name!r} (it has {', '.join(names)})"
        ) from None


def rate_factor(config: ScheduleConfig, step: int, steps: int) -> float:
    """The learning rate at `step` of `steps`, as a multiple of its peak: in (0, 1]."""
    warmup = config.warmup * steps
    if step < warmup:
        return (step + 1) / (warmup + 1)
    match config.name:
        case "constant":
            return 1.0
        case "cosine":
            return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1.0, steps - warmup)))
        case "quarter_cosine":
            return math.cos(7 / 16 * math.pi * (step - warmup) / max(1.0, steps - warmup))
        case "annealed":
            return float((1 + 10 * step / steps) ** -0.75)


def set_rates(optimizer: torch.optim.Optimizer, config: ScheduleConfig, step: int, steps: int) -> None:
    """Set learning rate and weight decay of every group for `step` of `steps`; the rate of frozen groups is 0."""
    factor = rate_factor(config, step, steps)
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * (1.0 if group["constant"] else factor)
        if step < group["frozen"] * steps:
            group["lr"] = 0.0
        if group["decay"] != group["final_decay"]:
            remaining = 0.5 * (1 + math.cos(math.pi * step / steps))
            group["weight_decay"] = group["final_decay"] + (group["decay"] - group["final_decay"]) * remaining


def drop_frozen_gradients(optimizer: torch.optim.Optimizer) -> None:
    """Forget the gradients of groups whose learning rate is 0, so that no moment of theirs remembers them."""
    for group in optimizer.param_groups:
        if group["lr"] == 0:
            for parameter in group["params"]:
                parameter.grad = None


class _Average(AveragedModel):
    """PyTorch's average of weights, without the copy of its counter to the GPU that every step would wait for."""

    def __init__(self, model: nn.Module, decay: float):
        super().__init__(model, use_buffers=True)
        self._average = get_ema_multi_avg_fn(decay)

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Move the average towards the weights and buffers of `model`; the first time, copy them."""
        ours, theirs = ([*each.parameters(), *each.buffers()] for each in (self.module, model))
        pairs = [(mine, its.detach()) for mine, its in zip(ours, theirs, strict=True)]
        if not self.n_averaged:
            for mine, its in pairs:
                mine.copy_(its)
        else:
            for floating in (True, False):
                group = [pair for pair in pairs if pair[0].is_floating_point() == floating]
                if group:
                    self._average([mine for mine, _ in group], [its for _, its in group], self.n_averaged)
        self.n_averaged += 1


def averaged(model: nn.Module, decay: float) -> AveragedModel:
    """The exponential moving average of the weights and buffers of `model`."""
    return _Average(model, decay)
