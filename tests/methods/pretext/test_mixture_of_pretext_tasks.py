"""The mixture of pretext tasks: weights, shared encoder, and unsuitable tasks."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from repflow.data.read.batches import Batches, Stream
from repflow.data.read.rows import Rows
from repflow.encoders import build_encoder
from repflow.encoders.convolutional import SmallConfig
from repflow.errors import ParameterError
from repflow.methods.pretext.mixture_of_pretext_tasks import Config, MixtureOfPretextTasks
from repflow.randomness.draws import Draw
from repflow.schema import build

PIXELS = np.random.default_rng(0).integers(0, 256, (60, 3, 16, 16)).astype(np.uint8)
STREAMS = {"unlabelled": Stream("unlabelled", Rows(PIXELS, np.full(60, -1), np.arange(60), ()))}
BATCH = Batches({"unlabelled": STREAMS["unlabelled"].at(0, 4, seed=0)}, 0.5)
TASKS = (
    {"name": "rotation", "weight": 3.0},
    {"name": "exemplar", "settings": {"augment": []}},
    {"name": "autoencoder", "settings": {"decoder": [8, 4]}},
)
WORDS = {"name": "bag_of_visual_words", "settings": {"perturb": [], "words": 5, "bootstrap": 0.5}}


def made(balance: str, tasks: tuple[dict[str, Any], ...] = TASKS) -> MixtureOfPretextTasks:
    torch.manual_seed(0)
    config = build(Config, {"tasks": list(tasks), "balance": balance}, "settings")
    method = MixtureOfPretextTasks(config, build_encoder(SmallConfig(widths=(8, 16)), 3, 16))
    method.begin(STREAMS, Draw(0, "begin"))
    return method


def alone(method: MixtureOfPretextTasks) -> list[torch.Tensor]:
    """Each task's loss times its own weight."""
    found = [task.losses(BATCH, Draw(0, "step").stream(name)).total for name, task in method._tasks()]
    return [3 * found[0], *found[1:]]


def test_fixed_weights_are_summed() -> None:
    method = made("fixed")
    assert method.losses(BATCH, Draw(0, "step")).total.item() == pytest.approx(sum(alone(method)).item(), rel=1e-5)


def test_weights_by_uncertainty_are_kendall_s() -> None:
    method = made("uncertainty")
    sigmas = [0.5, 2.0, 1.5]
    with torch.no_grad():
        method.log_variances.copy_(torch.tensor([math.log(sigma**2) for sigma in sigmas]))
    right = sum(each.item() / s**2 + math.log(s) for each, s in zip(alone(method), sigmas, strict=True))
    assert method.losses(BATCH, Draw(0, "step")).total.item() == pytest.approx(right, rel=1e-5)


def test_gradient_weights_equalise_gradient_norms() -> None:
    method = made("gradients")
    losses = method.losses(BATCH, Draw(0, "step"))
    last = method.encoder.body.maps[-1][0].weight
    weights = [losses.metrics[f"{task['name']}_weight"].item() for task in TASKS]
    pulls = [
        weight * torch.autograd.grad(loss, last)[0].norm().item()
        for weight, loss in zip(weights, alone(method), strict=True)
    ]
    assert pulls == pytest.approx([pulls[0]] * 3, rel=1e-4)
    assert sum(weights) == pytest.approx(3, rel=1e-5)
    right = sum(weight * loss.item() for weight, loss in zip(weights, alone(method), strict=True))
    assert losses.total.item() == pytest.approx(right, rel=1e-5)


def test_the_encoder_is_shared_and_gets_gradients_from_every_task() -> None:
    method = made("fixed")
    kept = method.state_dict()
    assert not [name for name in kept if name.startswith("tasks.") and "encoder" in name.split(".")]
    assert len({value.data_ptr() for value in kept.values()}) == len(kept)
    for loss in alone(method):
        grads = torch.autograd.grad(loss, list(method.encoder.parameters()))
        assert all(bool(each.abs().sum() > 0) for each in grads)


def test_a_task_with_phases_changes_phase() -> None:
    method, other = (made("fixed", (TASKS[0], WORDS)) for _ in range(2))
    method.losses(BATCH, Draw(0, "step"))
    with torch.no_grad():
        method.refresh(1, STREAMS, Draw(0, "refresh", 1))
    other.load_state_dict(method.state_dict())
    one, two = (each.losses(BATCH, Draw(0, "step")).total for each in (method, other))
    assert torch.equal(one, two)
    assert [each.requires_grad for each in method.parameters()] == [each.requires_grad for each in other.parameters()]


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        (({"name": "gan"},), "gan: only methods with one update per step on unlabelled images can be mixed"),
        ((TASKS[0], TASKS[0]), "a task is listed twice"),
        (({"name": "rotation", "settings": {"agument": []}},), "rotation.agument: unknown parameter"),
    ],
)
def test_unsuitable_tasks_are_refused(tasks: tuple[dict[str, Any], ...], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        made("fixed", tasks)
