"""Instance discrimination against naive loops over images and memory bank entries."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from repflow.augment.operations import HorizontalFlip
from repflow.data.read.batches import Batch, Batches, Stream
from repflow.data.read.rows import Rows
from repflow.encoders import build_encoder
from repflow.encoders.convolutional import SmallConfig
from repflow.methods.pretext.instance_discrimination import Config, InstanceDiscrimination
from repflow.randomness.draws import Draw

COUNT, CHOSEN = 20, torch.tensor([3, 11, 0, 7])
PIXELS = np.random.default_rng(0).integers(0, 256, (COUNT, 3, 16, 16), dtype=np.uint8)
ROWS = Rows(PIXELS, np.full(COUNT, -1), np.arange(COUNT), ())


def new(negatives: int | None = None, proximal: float = 0.0) -> InstanceDiscrimination:
    torch.manual_seed(0)
    config = Config(
        augment=(HorizontalFlip(),), temperature=0.2, width=6, momentum=0.7, negatives=negatives, proximal=proximal
    )
    method = InstanceDiscrimination(config, build_encoder(SmallConfig(widths=(8, 16)), 3, 16))
    streams = {"unlabelled": Stream("unlabelled", ROWS)}
    method.begin(streams, Draw(0, "begin"))
    with torch.no_grad():
        method.refresh(0, streams, Draw(0, "refresh"))
    return method


def batch() -> Batches:
    return Batches({"unlabelled": Stream("unlabelled", ROWS).take(CHOSEN)}, 0.0)


def features(method: InstanceDiscrimination) -> Tensor:
    """Of the views of one step, in float64: [B, width]."""
    part: Batch = batch()["unlabelled"]
    with torch.no_grad():
        views = method.augment(part.images, Draw(0, "step").stream("view"))
        found = torch.stack([method.head(method.encoder(view[None]))[0] for view in views]).double()
    return torch.stack([each / each.norm() for each in found])


def probability(feature: Tensor, memory: Tensor, normaliser: float) -> float:
    """P(i | v) of equation 2, exp(v_i · v / τ) / Z."""
    return math.exp(float(feature @ memory.double()) / 0.2) / normaliser


@pytest.mark.parametrize("proximal", [0.0, 3.0])
def test_the_loss_is_a_softmax_over_the_memory_bank(proximal: float) -> None:
    method = new(proximal=proximal)
    total = 0.0
    for feature, row in zip(features(method), CHOSEN.tolist(), strict=True):
        everyone = sum(probability(feature, memory, 1) for memory in method.memory.bank)
        total -= math.log(probability(feature, method.memory.bank[row], everyone))
        total += proximal * ((feature - method.memory.bank[row].double()) ** 2).sum().item()
    assert method.losses(batch(), Draw(0, "step")).total.item() == pytest.approx(total / 4, rel=1e-5)


def test_noise_contrastive_estimation() -> None:
    """Equations 4 to 8: h(i, v) = P(i | v) / (P(i | v) + m / n), with Z from the first batch and constant after it."""
    method = new(negatives=5)
    others = Draw(0, "step").stream("negatives").integers(4, 5, high=COUNT).tolist()
    views = features(method)
    drawn = [
        probability(view, method.memory.bank[row], 1) for view, rows in zip(views, others, strict=True) for row in rows
    ]
    normaliser = COUNT * sum(drawn) / len(drawn)
    total = 0.0
    for feature, row, noise in zip(views, CHOSEN.tolist(), others, strict=True):

        def posterior(other: int, feature: Tensor = feature) -> float:
            chance = probability(feature, method.memory.bank[other], normaliser)
            return chance / (chance + 5 / COUNT)

        total -= math.log(posterior(row)) + sum(math.log(1 - posterior(each)) for each in noise)
    assert method.losses(batch(), Draw(0, "step")).total.item() == pytest.approx(total / 4, rel=1e-5)
    first = method.partition.item()
    assert COUNT * first == pytest.approx(normaliser, rel=1e-5)
    method.losses(batch(), Draw(0, "other"))
    assert method.partition.item() == first


def test_only_memory_bank_rows_of_the_batch_are_updated() -> None:
    method = new()
    before = method.memory.bank.clone()
    method.losses(batch(), Draw(0, "step"))
    assert torch.equal(method.memory.bank, before)
    method.after_step()
    for row in range(COUNT):
        wanted = before[row].double()
        if row in CHOSEN.tolist():
            wanted = 0.7 * wanted + 0.3 * features(method)[CHOSEN.tolist().index(row)]
            wanted = wanted / wanted.norm()
        assert torch.allclose(method.memory.bank[row].double(), wanted, atol=1e-6)
    assert not method.memory.bank.requires_grad


def test_the_memory_bank_is_filled_once_with_current_features() -> None:
    method = new()
    images = torch.from_numpy(PIXELS).float() / 255
    with torch.no_grad():
        wanted = torch.nn.functional.normalize(method.head(method.encoder(images)))
        assert torch.allclose(method.memory.bank, wanted, atol=1e-6)
        method.head.weight += 1
        method.refresh(1, {"unlabelled": Stream("unlabelled", ROWS)}, Draw(0, "refresh"))
    assert torch.allclose(method.memory.bank, wanted, atol=1e-6)


def test_the_loss_decreases_towards_the_own_memory_bank_entry() -> None:
    method = new(negatives=5)
    method.memory.bank[CHOSEN] = -features(method).float()
    unknown = method.losses(batch(), Draw(0, "step")).total
    method.memory.bank[CHOSEN] = features(method).float()
    assert method.losses(batch(), Draw(0, "step")).total < unknown
