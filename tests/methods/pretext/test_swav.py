"""SwAV's loss against Sinkhorn-Knopp iterations in NumPy, and what it needs at the beginning of a training."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import log_softmax

from repflow.augment.operations import HorizontalFlip, RandomResizedCrop
from repflow.data.read.batches import Batch, Batches, Stream
from repflow.data.read.rows import Rows
from repflow.encoders import build_encoder
from repflow.encoders.convolutional import SmallConfig
from repflow.encoders.small_residual import SmallResNetConfig
from repflow.hardware.devices import HardwareConfig, prepare
from repflow.methods.pretext.swav import Config, SwAV
from repflow.randomness.draws import Draw
from repflow.stages.learning import check_method
from repflow.training import train

IMAGES = Draw(0, "images").uniform(6, 3, 16, 16)


def made(encoder: Any) -> SwAV:
    torch.manual_seed(0)
    local = (RandomResizedCrop(scale=(0.3, 0.6), size=8),)
    sizes: dict[str, Any] = {"hidden": 16, "projection": 8, "prototypes": 5, "queue": 9, "queue_from": 0.5}
    config = Config((HorizontalFlip(),), local, temperature=0.2, sharpness=0.1, **sizes)
    return SwAV(config, build_encoder(encoder, 3, 16))


@pytest.fixture
def method() -> SwAV:
    return made(SmallConfig(widths=(8, 16)))


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
    """The loss, one pair of views after the other; all views are cut from the images themselves."""
    draw = Draw(0, "step")
    large = [method.augment(IMAGES, draw.stream(f"view-{number}")) for number in (1, 2)]
    small = [method.local(IMAGES, draw.stream(f"local-{number}")) for number in range(2)]
    assert [view.shape[3] for view in (*large, *small)] == [16, 16, 8, 8]
    with torch.no_grad():
        # To the encoder, views of one size are a batch; to the head, all views are, and it normalises over all.
        features = torch.cat([method.encoder(torch.cat(large)), method.encoder(torch.cat(small))])
        projections = torch.nn.functional.normalize(method.projection_head(features).double()).chunk(4)
        prototypes = method.prototypes.weight.double()
        scores = [(each @ prototypes.T).numpy() for each in projections]
        newest = method.queue.rows[:6]  # 9 is no multiple of the batch size
        earlier = [(each.double() @ prototypes.T).numpy() for each in newest.chunk(2, dim=1)]
        assert np.allclose(prototypes.norm(dim=1), 1)
    total = 0.0
    for view in range(2):
        whole = np.concatenate([scores[view], earlier[view]]) if with_queue else scores[view]
        codes = assigned(whole)[:6]
        for other in range(4):
            if other != view:
                total -= (codes * log_softmax(scores[other] / 0.2, axis=1)).sum(axis=1).mean() / 3
    return total / 2


@pytest.mark.parametrize("encoder", [SmallConfig(widths=(8, 16)), SmallResNetConfig(widths=(8, 16))])
@pytest.mark.parametrize(("progress", "with_queue"), [(0.4, False), (0.6, True)])
def test_the_loss_is_the_paper_s(encoder: Any, progress: float, with_queue: bool) -> None:
    method = made(encoder).train()
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


def rows(count: int) -> Rows:
    """Noise of 16 x 16 pixels."""
    images = np.random.default_rng(0).integers(0, 256, (count, 3, 16, 16), dtype=np.uint8)
    return Rows(images, np.full(count, -1), np.arange(count), ())


@pytest.mark.parametrize(("count", "length"), [(7, 7), (30, 9)])
def test_the_queue_holds_no_more_features_than_there_are_images(method: SwAV, count: int, length: int) -> None:
    method.begin({"unlabelled": Stream("unlabelled", rows(count))}, Draw(0, "begin"))
    for step in range(2):
        method.losses(batches(0.0), Draw(1, "step", step))
        method.after_step()
    assert method.queue.rows.shape == (length, 16)
    assert method.queue.full


def test_prototypes_are_normalised_after_every_step(method: SwAV) -> None:
    method.losses(batches(0.0), Draw(0, "step"))
    with torch.no_grad():
        method.prototypes.weight.mul_(3)
    method.after_step()
    assert torch.allclose(method.prototypes.weight.norm(dim=1), torch.ones(5))


class Watched(SwAV):
    """Keeps the prototypes of each step, and whether earlier features were used in it."""

    def __init__(self, *args: Any):
        super().__init__(*args)
        self.seen, self.queued = [self.prototypes.weight.detach().clone()], [False]

    def earlier(self, batch: int) -> list[torch.Tensor] | None:
        found = super().earlier(batch)
        self.queued.append(found is not None)
        return found

    def after_step(self) -> None:
        super().after_step()
        self.seen.append(self.prototypes.weight.detach().clone())


def test_prototypes_are_frozen_at_first_and_the_queue_is_used(configuration: dict[str, Any]) -> None:
    _, settings, section = check_method(configuration["methods"]["pretrain"]["swav"], "conf/pretrain/swav.yaml")
    optimizer = section.training.optimizer
    assert 0 < optimizer.modules["prototypes"].frozen < settings.queue_from < 0.5
    longer = replace(optimizer, modules={"prototypes": replace(optimizer.modules["prototypes"], frozen=0.5)})
    method = Watched(settings, build_encoder(SmallConfig(widths=(8, 16)), 3, 16))
    training = replace(section.training, optimizer=longer, steps=4, batch_size=8)
    train(method, {"unlabelled": rows(16)}, training, prepare(HardwareConfig(threads=1)), seed=0, silent=True)
    assert [torch.allclose(each, method.seen[0], atol=1e-6) for each in method.seen[1:]] == [True, True, False, False]
    assert method.queued[-2:] == [True, True]  # it is full after two steps
