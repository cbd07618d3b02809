"""PIRL's loss against the paper's equations for single images, and its memory bank."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from repflow.augment.operations import HorizontalFlip
from repflow.data.read.batches import Batches, Stream
from repflow.data.read.rows import Rows
from repflow.encoders import build_encoder
from repflow.encoders.convolutional import SmallConfig
from repflow.methods.pretext.pirl import PIRL, Config
from repflow.randomness.draws import Draw

PIXELS = np.random.default_rng(0).integers(0, 256, (12, 3, 32, 32)).astype(np.uint8)
STREAM = Stream("unlabelled", Rows(PIXELS, np.full(12, -1), np.arange(12), ()))
BATCH = STREAM.at(0, 4, seed=0)


def made(tile: float) -> PIRL:
    torch.manual_seed(0)
    config = Config(augment=(HorizontalFlip(),), tile=tile, width=6, negatives=5, temperature=0.3, balance=0.25)
    method = PIRL(config, build_encoder(SmallConfig(widths=(8, 16)), 3, 32))
    method.begin({"unlabelled": STREAM}, Draw(0, "begin"))
    with torch.no_grad():
        method.refresh(0, {"unlabelled": STREAM}, Draw(0, "refresh"))
    return method


@pytest.fixture
def method() -> PIRL:
    return made(tile=0.85)


def nce(feature: Tensor, own: Tensor, others: Tensor, temperature: float) -> float:
    """−log h(own) − Σ log(1 − h(other)), h a share of all scores."""
    scores = [math.exp(float(feature.double() @ each.double()) / temperature) for each in (own, *others)]
    h = [score / sum(scores) for score in scores]
    return -math.log(h[0]) - sum(math.log(1 - each) for each in h[1:])


def test_the_loss_is_the_paper_s(method: PIRL) -> None:
    draw = Draw(0, "step")
    steps = draw.stream("negatives").integers(4, 5, low=1, high=12)
    with torch.no_grad():
        images = F.normalize(method.image_head(method.encoder(method.augment(BATCH.images, draw.stream("image")))))
        puzzles = method.puzzle(method.augment(BATCH.images, draw.stream("puzzle")), draw.stream("tiles"))
    total = 0.0
    for number, row in enumerate(BATCH.rows.tolist()):
        others = [(row + int(step)) % 12 for step in steps[number]]
        assert row not in others
        memory = method.memory.bank[row], method.memory.bank[others], 0.3
        total += 0.25 * nce(puzzles[number], *memory) + 0.75 * nce(images[number], *memory)
    found = method.losses(Batches({"unlabelled": BATCH}, 0.0), Draw(0, "step")).total
    assert found.item() == pytest.approx(total / 4, rel=1e-5)


def test_a_puzzle_is_its_tiles_in_a_random_order() -> None:
    method = made(tile=1.0)  # every cell whole, so that only the order is left to chance
    same = BATCH.images[:1].expand(40, -1, -1, -1)
    taken: list[Tensor] = []
    method.puzzle_head.register_forward_pre_hook(lambda module, given: taken.append(given[0]))
    with torch.no_grad():
        method.puzzle(same, Draw(0, "tiles"))
    puzzles = taken[0].unflatten(1, (9, 6))
    assert not torch.allclose(puzzles[0], puzzles[1], atol=1e-5)
    first = puzzles.sum(2).sort(dim=1).values
    assert torch.allclose(first, first[:1].expand_as(first), atol=1e-4)


def test_the_memory_bank_is_updated_with_the_image_features(method: PIRL) -> None:
    before = method.memory.bank.clone()
    method.losses(Batches({"unlabelled": BATCH}, 0.0), Draw(0, "step"))
    with torch.no_grad():
        views = method.augment(BATCH.images, Draw(0, "step").stream("image"))
        images = F.normalize(method.image_head(method.encoder(views)))
    method.after_step()
    for row in range(12):
        if row not in BATCH.rows.tolist():
            assert torch.equal(method.memory.bank[row], before[row])
    moved = 0.5 * before[BATCH.rows] + 0.5 * images
    assert torch.allclose(method.memory.bank[BATCH.rows], moved / moved.norm(dim=1, keepdim=True), atol=1e-6)
