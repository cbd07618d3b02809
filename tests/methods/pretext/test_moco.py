"""MoCo's loss against lightly's with a memory bank, its negatives against a naive loop, and its batch statistics."""

import pytest
import torch
import torch.nn.functional as F
from lightly.loss import NTXentLoss
from torch import Tensor, nn

from repflow.augment.operations import HorizontalFlip
from repflow.data.read.batches import Batch, Batches, Stream
from repflow.data.read.rows import Rows
from repflow.encoders import build_encoder
from repflow.encoders.convolutional import SmallConfig
from repflow.encoders.small_residual import SmallResNetConfig
from repflow.methods.parts.shuffled_groups import in_groups, in_shuffled_groups
from repflow.methods.pretext.moco import Config, MoCo
from repflow.randomness.draws import Draw

IMAGES = Draw(0, "images").uniform(6, 3, 16, 16)


def new(encoder: SmallConfig | SmallResNetConfig, groups: int = 1) -> MoCo:
    """A method whose key encoder differs from its encoder."""
    torch.manual_seed(0)
    config = Config(
        (HorizontalFlip(),), temperature=0.3, hidden=16, projection=8, queue=10, momentum=0.9, groups=groups
    )
    method = MoCo(config, build_encoder(encoder, 3, 16))
    for weight in method.key_encoder.parameters():
        torch.nn.init.normal_(weight, std=0.2)
    return method


@pytest.fixture
def method() -> MoCo:
    return new(SmallConfig(widths=(8, 16)))


def batches(rows: Tensor | None = None, progress: float = 0.0) -> Batches:
    rows = torch.arange(6) if rows is None else rows
    return Batches({"unlabelled": Batch(IMAGES, torch.full((6,), -1), rows)}, progress)


def both(method: MoCo) -> tuple[Tensor, Tensor]:
    """Queries and keys of the step's views, as unit vectors."""
    draw = Draw(0, "step")
    first, second = (method.augment(IMAGES, draw.stream(f"view-{number}")) for number in (1, 2))
    assert not torch.equal(first, second)
    return F.normalize(method.projection_head(method.encoder(first))), F.normalize(method.key_encoder(second))


def test_the_loss_is_that_of_a_query_its_key_and_the_queue(method: MoCo) -> None:
    reference = NTXentLoss(temperature=0.3, memory_bank_size=(10, 8))
    reference.memory_bank.bank = method.queue.rows.clone()
    with torch.no_grad():
        queries, keys = both(method)
        found = method.losses(batches(), Draw(0, "step"))
        assert found.total.item() == pytest.approx(reference(queries, keys).item(), rel=1e-5)
    cosines = queries @ torch.cat([keys, method.queue.rows]).T
    won = sum(cosines[row, row] > cosines[row, 6:].max() for row in range(6)) / 6
    assert found.metrics["accuracy"].item() == pytest.approx(float(won))


def test_negatives_are_the_newest_keys_of_other_images(method: MoCo) -> None:
    earlier = F.normalize(Draw(0, "keys").normal(8, 8))
    method.queue.enqueue(earlier[:4], torch.tensor([0, 1, 2, 50]))
    method.queue.enqueue(earlier[4:], torch.tensor([50, 3, 1, 60]))
    stored = [(50, 4), (3, 5), (1, 6), (60, 7), (0, 0), (2, 2)]  # of image 1 and 50 only the newer key
    with torch.no_grad():
        queries, keys = both(method)
        loss = method.losses(batches(), Draw(0, "step")).total.item()
    total = 0.0
    for row, (query, key) in enumerate(zip(queries.double(), keys.double(), strict=True)):
        others = [earlier[place].double() for image, place in stored if image != row]
        others += list(method.queue.rows[8:].double())  # random vectors, as in the paper's implementation
        scores = torch.stack([query @ each for each in (key, *others)]) / 0.3
        total -= scores.log_softmax(dim=0)[0].item()
    assert loss == pytest.approx(total / 6, rel=1e-5)


@pytest.mark.parametrize(("count", "length"), [(4, 4), (90, 10)])
def test_the_queue_holds_no_more_keys_than_there_are_images(method: MoCo, count: int, length: int) -> None:
    images = (IMAGES.repeat(15, 1, 1, 1)[:count] * 255).byte().numpy()
    nothing = torch.full((count,), -1).numpy()
    method.begin({"unlabelled": Stream("unlabelled", Rows(images, nothing, nothing, ()))}, Draw(0, "begin"))
    assert method.queue.rows.shape == (length, 8)
    assert method.queue.images.shape == (length,)
    method.losses(batches(), Draw(0, "step"))
    method.after_step()
    assert method.queue.full == (count == 4)


@pytest.mark.parametrize("progress", [0.0, 0.5])
def test_after_a_step_the_keys_are_the_newest_negatives_and_the_key_encoder_has_moved(
    method: MoCo, progress: float
) -> None:
    before = [weight.clone() for weight in method.key_encoder.parameters()]
    fast = [*method.encoder.parameters(), *method.projection_head.parameters()]
    with torch.no_grad():
        _, keys = both(method)
    method.losses(batches(10 + torch.arange(6), progress), Draw(0, "step")).total.backward()
    old = method.queue.rows.clone()
    method.after_step()
    assert torch.allclose(method.queue.rows, torch.cat([keys, old[:4]]), atol=1e-6)
    assert method.queue.images[:6].tolist() == [10, 11, 12, 13, 14, 15]
    for slow, was, target in zip(method.key_encoder.parameters(), before, fast, strict=True):
        assert slow.grad is None
        assert torch.allclose(slow, 0.9 * was + 0.1 * target, atol=1e-6)  # constant, as in the paper


def test_groups_have_batch_statistics_of_their_own() -> None:
    norm = nn.BatchNorm1d(5).train()
    features = Draw(0, "features").normal(12, 5)
    # As on several GPUs: each part of the batch is standardised by its own mean and deviation.
    parts = features.view(3, 4, 5)
    split = (parts - parts.mean(1, keepdim=True)) * (parts.var(1, keepdim=True, correction=0) + norm.eps).rsqrt()
    assert torch.allclose(in_groups(norm, features, 3), split.view(12, 5), atol=1e-6)


def test_keys_keep_their_order_but_not_their_groups() -> None:
    seen: list[set[int]] = []

    def network(rows: Tensor) -> Tensor:
        seen.append(set(rows[:, 0].int().tolist()))
        return 2 * rows

    rows = torch.arange(32.0)[:, None]
    found = in_shuffled_groups(network, rows, 4, Draw(0, "step"))
    assert torch.equal(found, 2 * rows)
    assert [len(group) for group in seen] == [8, 8, 8, 8]
    assert set.union(*seen) == set(range(32))
    query_groups = [set(range(start, start + 8)) for start in range(0, 32, 8)]
    assert all(len(ours & theirs) < 8 for ours in seen for theirs in query_groups)


def test_with_batch_normalisation_queries_and_keys_have_statistics_of_different_groups() -> None:
    method = new(SmallResNetConfig(widths=(8, 16)), groups=2).train()
    draw = Draw(0, "step")
    first, second = (method.augment(IMAGES, draw.stream(f"view-{number}")) for number in (1, 2))
    order = draw.stream("shuffle").permutation(6)
    with torch.no_grad():
        queries = torch.cat([method.projection_head(method.encoder(part)) for part in (first[:3], first[3:])])
        keys = torch.empty(6, 8)
        for part in (order[:3], order[3:]):
            keys[part] = method.key_encoder(second[part])
        cosines = F.normalize(queries) @ torch.cat([F.normalize(keys), method.queue.rows]).T / 0.3
        scores = torch.cat([cosines[:, :6].diagonal()[:, None], cosines[:, 6:]], dim=1)
        loss = method.losses(batches(), Draw(0, "step")).total.item()
    assert loss == pytest.approx(-scores.log_softmax(dim=1)[:, 0].mean().item(), rel=1e-5)
    assert sorted(order[:3].tolist()) not in ([0, 1, 2], [3, 4, 5])
