"""Losses, gradients and weights that are not finite end a training with one message; a skipped step does not."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.precision import MixedPrecision
from torch import Tensor

from repflow.data.read.rows import Rows
from repflow.errors import Diverged
from repflow.hardware.devices import HardwareConfig, prepare
from repflow.methods.semisup.supervised import Supervised
from repflow.schema import build
from repflow.training import TrainingConfig, TrainingResult, train
from repflow.training.contract import Losses

STEPS = 6
PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")


class _Spoiled(torch.autograd.Function):
    """A loss with its value, and gradients that are multiplied by `factor`."""

    @staticmethod
    def forward(context: Any, loss: Tensor, factor: float) -> Tensor:
        context.factor = factor
        return loss.clone()

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0] * context.factor, None


@pytest.fixture
def spoil(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """`spoil(loss={3: nan}, gradients={6: inf})` multiplies losses or gradients of these steps by these factors."""

    def arrange(loss: dict[int, float] | None = None, gradients: dict[int, float] | None = None) -> None:
        original, done = Supervised.losses, [0]

        def losses(self: Supervised, *arguments: Any) -> Losses:
            done[0] += 1
            found = original(self, *arguments)
            total = _Spoiled.apply(found.total * (loss or {}).get(done[0], 1.0), (gradients or {}).get(done[0], 1.0))
            return Losses(total, found.metrics)

        monkeypatch.setattr(Supervised, "losses", losses)

    return arrange


@pytest.fixture
def run(method: Supervised, rows: dict[str, Rows]) -> Callable[..., TrainingResult]:
    def training(precision: str, **values: Any) -> TrainingResult:
        if precision == "16-mixed":  # on a CPU, Fabric itself takes bf16-mixed instead
            fabric = Fabric(accelerator="cpu", plugins=[MixedPrecision("16-mixed", "cpu")])
        else:
            fabric = prepare(build(HardwareConfig, {"threads": 1, "precision": precision}, "hardware"))
        config = build(TrainingConfig, {"batch_size": 16, "log_every": 4, "steps": STEPS, **values}, "training")
        return train(method, rows, config, fabric, seed=0)

    return training


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("factor", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_names_its_step_and_what_to_try(
    spoil: Callable[..., None], run: Callable[..., TrainingResult], precision: str, factor: float
) -> None:
    spoil(loss={3: factor})
    with pytest.raises(Diverged, match=rf"^the loss is {factor} at step 3 of 6; try a lower .*clip=1") as caught:
        run(precision)
    assert ("hardware.precision=bf16-mixed" in str(caught.value)) == (precision == "16-mixed")


@pytest.mark.parametrize("clip", [None, 1.0])
def test_a_step_that_a_gradient_scaler_skips_is_no_failure(
    spoil: Callable[..., None], run: Callable[..., TrainingResult], method: Supervised, clip: float | None
) -> None:
    before = copy.deepcopy(method.state_dict())
    spoil(gradients={1: float("inf"), STEPS: float("nan")})
    assert run("16-mixed", clip=clip).steps == STEPS
    after = method.state_dict()
    assert any(not torch.equal(before[name], after[name]) for name in before)
    assert all(bool(each.isfinite().all()) for each in after.values())


def test_gradients_that_are_never_finite_are_a_failure(
    spoil: Callable[..., None], run: Callable[..., TrainingResult]
) -> None:
    spoil(gradients=dict.fromkeys(range(1, 61), float("nan")))
    with pytest.raises(Diverged, match=r"the gradients are infinite or NaN at every scale at step 44 of 60"):
        run("16-mixed", steps=60)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_weights_that_the_last_step_spoils_are_not_kept(
    spoil: Callable[..., None], run: Callable[..., TrainingResult], precision: str
) -> None:
    spoil(gradients={STEPS: float("nan")})
    with pytest.raises(Diverged, match=r"there are weights that are infinite or NaN at step 6 of 6"):
        run(precision)
