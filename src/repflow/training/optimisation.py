"""Optimisers, the learning rate as a function of the step, and the average of the weights."""

import math
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from repflow.training.config import OptimizerConfig, ScheduleConfig
from repflow.training.contract import Method

FUSED = ("cpu", "cuda")
"""Devices with fused optimisers. On a CPU, others take MKL's square root, whose digits depend on the CPU's maker."""


def build_optimizer(method: Method, config: OptimizerConfig, fused: bool = True) -> torch.optim.Optimizer:
    """The optimiser over all that learns in `method`; every group carries its own peak rate as `peak`.

    Args:
        method: what learns.
        config: how.
        fused: take all of a step of Adam or AdamW in one kernel; the device's type is one of `FUSED`.
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    encoder = {id(parameter) for parameter in _encoder_parameters(method)}
    for parameter in method.parameters():
        factor = config.encoder_factor if id(parameter) in encoder else 1.0
        if not parameter.requires_grad or factor == 0:
            continue
        decay = config.weight_decay if parameter.ndim > 1 else 0.0
        groups.setdefault((config.learning_rate * factor, decay), []).append(parameter)
    described: list[dict[str, Any]] = [
        {"params": members, "lr": rate, "peak": rate, "weight_decay": decay}
        for (rate, decay), members in groups.items()
    ]
    match config.name:
        case "sgd":
            nesterov = config.momentum > 0
            # There is no square root here, and the fused kernel fails where parameters join the others later.
            return torch.optim.SGD(described, momentum=config.momentum, nesterov=nesterov, fused=False)
        case "adam":
            return torch.optim.Adam(described, betas=(config.momentum, 0.999), fused=fused)
        case "adamw":
            return torch.optim.AdamW(described, betas=(config.momentum, 0.999), fused=fused)


def _encoder_parameters(method: Method) -> list[nn.Parameter]:
    return list(getattr(method.learned, "encoder", method.learned).parameters())


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
        case "annealed":
            return float((1 + 10 * step / steps) ** -0.75)


def set_rate(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Let every group learn at `factor` times its peak rate."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * factor


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
