"""Optimisers and learning-rate schedules."""

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.overrides import TorchFunctionMode

from repflow.encoders.layers import layers
from repflow.errors import ParameterError
from repflow.methods.semisup.supervised import Supervised
from repflow.schema import build
from repflow.training import TrainingResult
from repflow.training.config import OptimizerConfig, ScheduleConfig
from repflow.training.optimisation import averaged, build_optimizer, drop_frozen_gradients, rate_factor, set_rates


@pytest.mark.parametrize(
    ("name", "step", "factor"),
    [
        ("constant", 0, 1.0),
        ("constant", 99, 1.0),
        ("cosine", 0, 1.0),
        ("cosine", 50, 0.5),
        ("cosine", 75, 0.5 - math.sqrt(0.125)),
        ("quarter_cosine", 0, 1.0),
        ("quarter_cosine", 100, 0.1950903220161283),
        ("annealed", 0, 1.0),
        ("annealed", 50, 6**-0.75),
    ],
)
def test_the_schedules(name: str, step: int, factor: float) -> None:
    assert rate_factor(ScheduleConfig(name=name), step, 100) == pytest.approx(factor)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["constant", "cosine", "quarter_cosine", "annealed"])
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
    set_rates(optimizer, ScheduleConfig(name="cosine"), 50, 100)
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


def rates(optimizer: torch.optim.Optimizer) -> dict[int, tuple[float, float]]:
    """Parameter to its learning rate and weight decay."""
    groups = optimizer.param_groups
    return {id(each): (group["lr"], group["weight_decay"]) for group in groups for each in group["params"]}


def test_a_module_learns_by_a_rate_a_decay_and_a_schedule_of_its_own(method: Supervised) -> None:
    head, encoder = method.classifier.head, method.classifier.encoder
    first, last = next(encoder.parameters()), head[-1].weight
    modules = {
        "classifier": {"factor": 0.5},
        "classifier.head": {"factor": 2.0, "weight_decay": 0.7, "constant": True, "frozen": 0.25},
    }
    config = build(OptimizerConfig, {"learning_rate": 0.1, "weight_decay": 0.3, "modules": modules}, "optimizer")
    optimizer = build_optimizer(method, config)
    cosine = ScheduleConfig(name="cosine")
    set_rates(optimizer, cosine, 24, 100)
    assert rates(optimizer)[id(last)] == (0.0, 0.7)
    assert rates(optimizer)[id(first)] == (pytest.approx(0.05 * rate_factor(cosine, 24, 100)), 0.3)
    set_rates(optimizer, cosine, 25, 100)
    assert rates(optimizer)[id(last)] == (pytest.approx(0.2), 0.7)
    set_rates(optimizer, cosine, 99, 100)
    assert rates(optimizer)[id(last)] == (pytest.approx(0.2), 0.7)
    assert rates(optimizer)[id(head[-1].bias)] == (pytest.approx(0.2), 0.0)  # biases never decay


def test_a_module_that_is_not_there_is_named_with_those_that_are(method: Supervised) -> None:
    config = build(OptimizerConfig, {"modules": {"predictor": {"factor": 2.0}}}, "optimizer")
    with pytest.raises(ParameterError, match=r"no module 'predictor' \(it has classifier\)"):
        build_optimizer(method, config)


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw", "lars"])
def test_frozen_weights_stay_and_their_gradients_are_not_remembered(
    name: str, method: Supervised, run: Callable[..., TrainingResult]
) -> None:
    before = copy.deepcopy(method.state_dict())
    modules = {"classifier.head": {"frozen": 1.0}}
    run(method, steps=3, optimizer={"name": name, "learning_rate": 0.1, "modules": modules})
    head = [key for key in before if key.startswith("classifier.head")]
    assert all(torch.equal(before[key], method.state_dict()[key]) for key in head)
    assert not all(torch.equal(value, method.state_dict()[key]) for key, value in before.items())


def test_no_moment_remembers_a_frozen_gradient(method: Supervised) -> None:
    config = build(OptimizerConfig, {"modules": {"classifier.head": {"frozen": 0.5}}}, "optimizer")
    optimizer = build_optimizer(method, config)
    for parameter in method.parameters():
        parameter.grad = torch.ones_like(parameter)
    set_rates(optimizer, ScheduleConfig(), 0, 10)
    drop_frozen_gradients(optimizer)
    optimizer.step()
    learnt = {id(parameter) for parameter in optimizer.state}
    assert learnt == {id(parameter) for parameter in method.classifier.encoder.parameters()}


def test_weight_decay_follows_a_cosine_to_its_last_value(method: Supervised) -> None:
    optimizer = build_optimizer(method, OptimizerConfig(weight_decay=0.04, final_weight_decay=0.4))
    last = method.classifier.head[-1]
    for step, expected in ((0, 0.04), (50, 0.22), (100, 0.4)):
        set_rates(optimizer, ScheduleConfig(), step, 100)
        assert rates(optimizer)[id(last.weight)][1] == pytest.approx(expected)
        assert rates(optimizer)[id(last.bias)][1] == 0.0


def test_the_rate_is_proportional_to_the_batch_size_if_asked(method: Supervised) -> None:
    config = OptimizerConfig(learning_rate=0.1, rate_for_batch=256)
    optimizer = build_optimizer(method, config, batch_size=64)
    assert {group["lr"] for group in optimizer.param_groups} == {0.025}
    optimizer = build_optimizer(method, OptimizerConfig(learning_rate=0.1), batch_size=64)
    assert {group["lr"] for group in optimizer.param_groups} == {0.1}


@pytest.mark.parametrize("beta", [0.95, 0.999])
def test_both_betas_are_given_to_adam(beta: float, method: Supervised) -> None:
    optimizer = build_optimizer(method, OptimizerConfig(momentum=0.8, second_beta=beta))
    assert all(group["betas"] == (0.8, beta) for group in optimizer.param_groups)


def test_rates_fall_with_the_distance_from_the_head(method: Supervised) -> None:
    encoder = method.classifier.encoder  # two stages: a convolution, then a pair of them
    optimizer = build_optimizer(method, OptimizerConfig(learning_rate=1.0, layer_decay=0.5))
    found = layers(encoder)
    assert len(found) == 3
    for depth, layer in enumerate(found):
        for module in layer.modules[0]:
            for parameter in module.parameters():
                assert rates(optimizer)[id(parameter)][0] == 0.5 ** (3 - depth)
    assert rates(optimizer)[id(method.classifier.head[-1].weight)][0] == 1.0


def test_lars_is_lightly_s_and_leaves_biases_alone(method: Supervised) -> None:
    optimizer = build_optimizer(method, OptimizerConfig(name="lars", learning_rate=0.3, weight_decay=1e-6))
    assert type(optimizer).__name__ == "LARS"
    decays = {
        parameter.ndim > 1: group["weight_decay"] for group in optimizer.param_groups for parameter in group["params"]
    }
    assert decays == {True: 1e-6, False: 0.0}  # and without a decay, lightly's LARS is plain SGD


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
