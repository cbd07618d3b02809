"""Optimisers and learning-rate schedules."""

import math
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.overrides import TorchFunctionMode

from repflow.methods.semisup.supervised import Supervised
from repflow.training.config import OptimizerConfig, ScheduleConfig
from repflow.training.optimisation import averaged, build_optimizer, rate_factor, set_rate


@pytest.mark.parametrize(
    ("name", "step", "factor"),
    [
        ("constant", 0, 1.0),
        ("constant", 99, 1.0),
        ("cosine", 0, 1.0),
        ("cosine", 50, 0.5),
        ("cosine", 75, 0.5 - math.sqrt(0.125)),
        ("annealed", 0, 1.0),
        ("annealed", 50, 6**-0.75),
    ],
)
def test_the_schedules(name: str, step: int, factor: float) -> None:
    assert rate_factor(ScheduleConfig(name=name), step, 100) == pytest.approx(factor)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["constant", "cosine", "annealed"])
def test_the_warm_up_is_linear_and_never_0(name: str) -> None:
    config = ScheduleConfig(name=name, warmup=0.1)  # type: ignore[arg-type]
    factors = [rate_factor(config, step, 100) for step in range(100)]
    assert factors[:10] == pytest.approx([(step + 1) / 11 for step in range(10)])
    assert all(0 < factor <= 1 for factor in factors)
    assert factors[10:] == sorted(factors[10:], reverse=True)


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
def test_every_weight_is_in_one_group_and_only_matrices_decay(name: str, method: Supervised) -> None:
    config = OptimizerConfig(name=name, learning_rate=0.2, weight_decay=0.3, encoder_factor=0.1)  # type: ignore[arg-type]
    optimizer = build_optimizer(method, config)
    seen = [id(weight) for group in optimizer.param_groups for weight in group["params"]]
    assert sorted(seen) == sorted(id(weight) for weight in method.parameters())
    encoder = {id(weight) for weight in method.classifier.encoder.parameters()}
    for group in optimizer.param_groups:
        for weight in group["params"]:
            assert group["weight_decay"] == (0.3 if weight.ndim > 1 else 0.0)
            assert group["lr"] == pytest.approx(0.02 if id(weight) in encoder else 0.2)
    set_rate(optimizer, 0.5)
    assert {round(group["lr"], 6) for group in optimizer.param_groups} == {0.01, 0.1}


def test_frozen_weights_are_left_out(method: Supervised) -> None:
    frozen = method.classifier.head[-1].weight
    frozen.requires_grad_(False)
    optimizer = build_optimizer(method, OptimizerConfig())
    assert all(weight is not frozen for group in optimizer.param_groups for weight in group["params"])


def test_momentum_of_sgd_is_nesterov_s(method: Supervised) -> None:
    assert build_optimizer(method, OptimizerConfig(name="sgd", momentum=0.9)).defaults["nesterov"]
    assert not build_optimizer(method, OptimizerConfig(name="sgd", momentum=0.0)).defaults["nesterov"]
    assert isinstance(build_optimizer(method, OptimizerConfig(name="adamw")), torch.optim.AdamW)


def test_the_average_is_pytorchs_and_copies_nothing_to_its_device() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    ours = averaged(model, 0.9)
    theirs = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)
    copied: list[str] = []

    class Watch(TorchFunctionMode):
        def __torch_function__(self, function: Any, types: Any, given: Any = (), named: Any = None) -> Any:
            if getattr(function, "__name__", "") in ("to", "cuda"):
                copied.append(function.__name__)
            return function(*given, **(named or {}))

    for _ in range(3):
        model(torch.randn(8, 3)).sum().backward()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter))
        with Watch():
            ours.update_parameters(model)
        theirs.update_parameters(model)
    assert not copied
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    for name, value in theirs.state_dict().items():
        assert torch.equal(ours.state_dict()[name], value), name
