"""MoCo's loss against lightly's with a memory bank, and its queue."""

import pytest
import torch
import torch.nn.functional as F
from lightly.loss import NTXentLoss

from repflow.augment.operations import HorizontalFlip
from repflow.data.read.batches import Batch, Batches
from repflow.encoders import build_encoder
from repflow.encoders.convolutional import SmallConfig
from repflow.methods.pretext.moco import Config, MoCo
from repflow.randomness.draws import Draw

IMAGES = Draw(0, "images").uniform(6, 3, 16, 16)


@pytest.fixture
def method() -> MoCo:
    """A method whose key encoder differs from its encoder."""
    torch.manual_seed(0)
    config = Config(augment=(HorizontalFlip(),), temperature=0.3, hidden=16, projection=8, queue=10, momentum=0.9)
    method = MoCo(config, build_encoder(SmallConfig(widths=(8, 16)), 3, 16))
    for weight in method.key_encoder.parameters():
        torch.nn.init.normal_(weight, std=0.2)
    return method


def batches(progress: float = 0.0) -> Batches:
    return Batches({"unlabelled": Batch(IMAGES, torch.full((6,), -1), torch.arange(6))}, progress)


def test_the_loss_is_that_of_a_query_its_key_and_the_queue(method: MoCo) -> None:
    draw = Draw(0, "step")
    first, second = (method.augment(IMAGES, draw.stream(f"view-{number}")) for number in (1, 2))
    assert not torch.equal(first, second)
    reference = NTXentLoss(temperature=0.3, memory_bank_size=(10, 8))
    reference.memory_bank.bank = method.queue.rows.clone()
    with torch.no_grad():
        queries, keys = method.projection_head(method.encoder(first)), method.key_encoder(second)
        found = method.losses(batches(), Draw(0, "step"))
        assert found.total.item() == pytest.approx(reference(queries, keys).item(), rel=1e-5)
    cosines = F.normalize(queries) @ torch.cat([F.normalize(keys), method.queue.rows]).T
    won = sum(cosines[row, row] > cosines[row, 6:].max() for row in range(6)) / 6
    assert found.metrics["accuracy"].item() == pytest.approx(float(won))


def test_after_a_step_the_keys_are_the_newest_negatives_and_the_key_encoder_has_moved(method: MoCo) -> None:
    before = [weight.clone() for weight in method.key_encoder.parameters()]
    fast = [*method.encoder.parameters(), *method.projection_head.parameters()]
    with torch.no_grad():
        keys = F.normalize(method.key_encoder(method.augment(IMAGES, Draw(0, "step").stream("view-2"))))
    method.losses(batches(progress=0.5), Draw(0, "step")).total.backward()
    old = method.queue.rows.clone()
    method.after_step()
    assert torch.allclose(method.queue.rows, torch.cat([keys, old[:4]]), atol=1e-6)
    for slow, was, target in zip(method.key_encoder.parameters(), before, fast, strict=True):
        assert slow.grad is None
        assert torch.allclose(slow, 0.95 * was + 0.05 * target, atol=1e-6)
