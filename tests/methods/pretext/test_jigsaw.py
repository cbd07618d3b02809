"""The jigsaw: permutations against a naive search, loss against a naive loop over images."""

import itertools
from typing import Any

import pytest
import torch
from scipy.special import log_softmax

from repflow.data.read.batches import Batch, Batches
from repflow.encoders import build_encoder
from repflow.encoders.convolutional import SmallConfig
from repflow.encoders.tiled import TiledConfig, TiledEncoder
from repflow.methods.pretext.jigsaw import Config, Jigsaw, distant_permutations
from repflow.randomness.draws import Draw
from repflow.stages.learning import check_method

IMAGES = Draw(0, "images").uniform(4, 3, 32, 32)
BATCH = Batches({"unlabelled": Batch(IMAGES, torch.full((4,), -1), torch.arange(4))}, 0.0)


@pytest.fixture
def method() -> Jigsaw:
    torch.manual_seed(0)
    config = Config(permutations=20, side=12, tile_width=8, hidden=16)
    return Jigsaw(config, build_encoder(SmallConfig(widths=(8, 16)), 3, 32))


def hamming(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    return sum(a != b for a, b in zip(one, other, strict=True))


def test_every_permutation_is_the_farthest_from_those_before() -> None:
    every = list(itertools.permutations(range(5)))
    chosen = distant_permutations(5, 30)
    assert chosen[0] == (0, 1, 2, 3, 4)
    for count in range(1, 30):
        before = chosen[:count]
        reach = max(
            (min(hamming(each, other) for other in before), sum(hamming(each, o) for o in before)) for each in every
        )
        taken = chosen[count]
        assert (min(hamming(taken, other) for other in before), sum(hamming(taken, o) for o in before)) == reach


def test_a_hundred_permutations_of_nine_tiles_are_far_apart() -> None:
    chosen = distant_permutations(9, 100)
    assert len(set(chosen)) == 100
    assert min(hamming(one, other) for one, other in itertools.combinations(chosen, 2)) >= 6
    assert min(hamming(one, other) for one, other in itertools.combinations(chosen[:9], 2)) == 9


def test_the_loss_is_the_cross_entropy_of_each_image_s_permutation(method: Jigsaw) -> None:
    found = method.losses(BATCH, Draw(0, "step"))
    tiles, which = method.puzzle(IMAGES, Draw(0, "step"))
    assert len(which.unique()) > 1
    total = 0.0
    with torch.no_grad():
        for puzzle, answer in zip(tiles, which.tolist(), strict=True):
            each = []
            for tile in puzzle:
                mean, std = tile.mean((1, 2), keepdim=True), tile.std((1, 2), correction=0, keepdim=True)
                seen = (tile - mean) / (std + 0.01) * method.encoder.std + method.encoder.mean
                each.append(method.tile_head(method.encoder(seen[None]))[0])
            total -= log_softmax(method.head(torch.cat(each)).double().numpy())[answer]
    assert found.total.item() == pytest.approx(total / 4, rel=1e-5)


def test_the_solution_restores_the_tiles(method: Jigsaw) -> None:
    marks = (
        torch.arange(9.0).repeat_interleave(10).view(3, 30).repeat_interleave(10, dim=0)
    )  # a tile's value: its place
    tiles, which = method.puzzle(marks.expand(4, 3, 30, 30), Draw(0, "step"))
    found = tiles.mean((2, 3, 4)).round().long()  # [4, 9], where each tile comes from
    assert torch.equal(found, method.permutations[which])
    assert not torch.equal(found[0], torch.arange(9))


def test_figures_show_image_puzzle_and_solution(method: Jigsaw) -> None:
    figures = method.eval().figures(IMAGES)
    assert figures.shape == (4, 3, 3, 32, 32)
    assert torch.equal(figures[:, 0], IMAGES)


def test_an_encoder_of_tiles_solves_the_puzzle_by_what_it_sees() -> None:
    torch.manual_seed(0)
    tiled = TiledConfig(inner=SmallConfig(widths=(8, 16)), grid=3, window=0.3, side=20, standardise=True)
    encoder = build_encoder(tiled, 3, 32)
    assert isinstance(encoder, TiledEncoder)
    method = Jigsaw(Config(permutations=20, side=12, normalise=False, tile_width=8, hidden=16), encoder)
    found = method.losses(BATCH, Draw(0, "step"))
    tiles, which = method.puzzle(IMAGES, Draw(0, "step"))
    total = 0.0
    with torch.no_grad():
        for puzzle, answer in zip(tiles, which.tolist(), strict=True):
            each = []
            for tile in puzzle:  # with its 12 pixels: it is whole images that are enlarged
                mean, std = tile.mean((1, 2), keepdim=True), tile.std((1, 2), correction=0, keepdim=True)
                seen = (tile - mean) / (std + 0.01) * encoder.inner.std + encoder.inner.mean
                each.append(method.tile_head(encoder.inner(seen[None]))[0])
            total -= log_softmax(method.head(torch.cat(each)).double().numpy())[answer]
    assert found.total.item() == pytest.approx(total / 4, rel=1e-5)


def test_three_in_ten_puzzles_are_grey_and_the_channels_of_others_are_moved_apart(
    configuration: dict[str, Any],
) -> None:
    """As the paper has it: puzzles of one image, whose vertical stripes have the same place in all channels."""
    section = configuration["methods"]["pretrain"]["jigsaw"]
    _, settings, _ = check_method({**section, "settings": {**section["settings"], "augment": []}}, "jigsaw")
    method = Jigsaw(settings, build_encoder(SmallConfig(widths=(8,)), 3, 24))
    stripes = (torch.arange(24) % 8 < 4).float().expand(1000, 3, 24, 24) * torch.tensor([1.0, 0.5, 0.25])[:, None, None]
    batch = Batches({"unlabelled": Batch(stripes, torch.full((1000,), -1), torch.arange(1000))}, 0.0)
    changed = method.augmented(batch, Draw(0, "step"))
    grey = (changed.amax(1) - changed.amin(1)).flatten(1).amax(1) < 1e-3
    assert grey.float().mean().item() == pytest.approx(0.3, abs=0.05)
    scaled = changed[~grey] / torch.tensor([1.0, 0.5, 0.25])[:, None, None]
    apart = (scaled[:, 0] != scaled[:, 1]).flatten(1).any(1)
    assert apart.float().mean().item() == pytest.approx(2 / 3, abs=0.06), "left, still or right, each by itself"
