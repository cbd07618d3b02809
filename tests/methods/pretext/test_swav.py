"""SwAV's loss against Sinkhorn-Knopp iterations in NumPy."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import log_softmax

from repflow.augment.operations import HorizontalFlip, RandomResizedCrop
from repflow.data.read.batches import Batch, Batches
from repflow.encoders import build_encoder
from repflow.encoders.convolutional import SmallConfig
from repflow.methods.pretext.swav import Config, SwAV
from repflow.randomness.draws import Draw

IMAGES = Draw(0, "images").uniform(6, 3, 16, 16)


@pytest.fixture
def method() -> SwAV:
    torch.manual_seed(0)
    small = (RandomResizedCrop(scale=(0.3, 0.6), size=8),)
    sizes: dict[str, Any] = {"hidden": 16, "projection": 8, "prototypes": 5, "queue": 9, "queue_from": 0.5}
    config = Config((HorizontalFlip(),), small, smalls=2, temperature=0.2, sharpness=0.1, **sizes)
    return SwAV(config, build_encoder(SmallConfig(widths=(8, 16)), 3, 16))


def batches(progress: float) -> Batches:
    return Batches({"unlabelled": Batch(IMAGES, torch.full((6,), -1), torch.arange(6))}, progress)


def assigned(scores: np.ndarray) -> np.ndarray:
    """Of [N, prototypes]: three rounds in which prototypes get equal shares, and then images."""
    shares = np.exp(scores / 0.1)
    for _ in range(3):
        shares /= shares.sum(axis=0, keepdims=True)
        shares /= shares.sum(axis=1, keepdims=True)
    return shares


def loss(method: SwAV, progress: float, with_queue: bool) -> float:
    """The loss, one pair of views after the other."""
    draw = Draw(0, "step")
    large = [method.augment(IMAGES, draw.stream(f"view-{number}")) for number in (1, 2)]
    small = []
    for number in range(2):
        stream = draw.stream(f"small-{number}")
        small.append(method.shrink(method.augment(IMAGES, stream.stream("view")), stream))
        assert small[-1].shape == (6, 3, 8, 8)
    with torch.no_grad():
        projections = [each.double() for each in method.project(torch.cat(large)).chunk(2)]
        projections += [method.project(view).double() for view in small]
        prototypes = method.prototypes.weight.double()
        scores = [(each @ prototypes.T).numpy() for each in projections]
        earlier = [(each.double() @ prototypes.T).numpy() for each in method.queue.rows.chunk(2, dim=1)]
        assert np.allclose(prototypes.norm(dim=1), 1)
    total = 0.0
    for view in range(2):
        whole = np.concatenate([scores[view], earlier[view]]) if with_queue else scores[view]
        codes = assigned(whole)[:6]
        for other in range(4):
            if other != view:
                total -= (codes * log_softmax(scores[other] / 0.2, axis=1)).sum(axis=1).mean() / 3
    return total / 2


@pytest.mark.parametrize(("progress", "with_queue"), [(0.4, False), (0.6, True)])
def test_the_loss_is_the_paper_s(method: SwAV, progress: float, with_queue: bool) -> None:
    for step in range(2):  # until the queue is full
        method.losses(batches(0.0), Draw(1, "step", step))
        method.after_step()
    assert method.queue.full
    with torch.no_grad():
        found = method.losses(batches(progress), Draw(0, "step")).total.item()
    assert found == pytest.approx(loss(method, progress, with_queue), rel=1e-5)
    assert loss(method, progress, not with_queue) != pytest.approx(found, rel=1e-3)


def test_the_initial_random_queue_is_not_used(method: SwAV) -> None:
    with torch.no_grad():
        found = method.losses(batches(0.6), Draw(0, "step")).total.item()
    assert found == pytest.approx(loss(method, 0.6, with_queue=False), rel=1e-5)


def test_prototypes_are_normalised_after_every_step(method: SwAV) -> None:
    method.losses(batches(0.0), Draw(0, "step"))
    with torch.no_grad():
        method.prototypes.weight.mul_(3)
    method.after_step()
    assert torch.allclose(method.prototypes.weight.norm(dim=1), torch.ones(5))
