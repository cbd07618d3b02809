"""Contrastive predictive coding: loss against a naive loop, context network and patches."""

import math

import pytest
import torch

from repflow.data.read.batches import Batch, Batches
from repflow.encoders import build_encoder
from repflow.encoders.convolutional import SmallConfig
from repflow.encoders.tiled import TiledConfig
from repflow.errors import ParameterError
from repflow.methods.pretext.contrastive_predictive_coding import (
    Config,
    Context,
    ContrastivePredictiveCoding,
    patches_of,
)
from repflow.randomness.draws import Draw

IMAGES = Draw(0, "images").uniform(3, 3, 16, 16)


def made(**settings: int) -> ContrastivePredictiveCoding:
    torch.manual_seed(0)
    return ContrastivePredictiveCoding(Config(**settings), build_encoder(SmallConfig(widths=(8, 16)), 3, 16))


def test_the_loss_is_info_nce_over_all_patches_of_a_row() -> None:
    method = made(grid=5, skip=1, steps=2)
    batch = Batches({"unlabelled": Batch(IMAGES, torch.full((3,), -1), torch.arange(3))}, 0.0)
    found = method.losses(batch, Draw(0, "step")).total.item()
    with torch.no_grad():
        patches = patches_of(IMAGES, 5, 0.25)
        z = torch.stack([torch.stack([method.encoder(each) for each in row]) for row in patches])  # [5, 5, B, width]
        c = torch.stack([method.context(z[:, :, image].permute(2, 0, 1)[None])[0] for image in range(3)])
        means = []
        for number, ahead in enumerate((2, 3)):
            terms = []
            for row in range(5 - ahead):
                for image in range(3):
                    for column in range(5):
                        guess = method.predictions[number](c[image, :, row, column]).double()
                        scores = {
                            (n, at): (guess @ z[row + ahead, at, n].double()).item()
                            for n in range(3)
                            for at in range(5)
                        }
                        whole = math.log(sum(math.exp(score) for score in scores.values()))
                        terms.append(whole - scores[image, column])
            means.append(sum(terms) / len(terms))
    assert found == pytest.approx(sum(means) / 2, rel=1e-5)


def test_the_context_network_is_causal_in_rows() -> None:
    torch.manual_seed(0)
    context = Context(4, layers=3)
    features = Draw(0, "z").normal(1, 4, 6, 6)
    changed = features.clone()
    changed[:, :, 3, 2] += 1
    before, after = context(features), context(changed)
    assert torch.equal(before[:, :, :3], after[:, :, :3])
    assert not torch.equal(before[:, :, 3:], after[:, :, 3:])


def test_patches_are_squares_on_a_regular_grid() -> None:
    images = Draw(0, "images").uniform(2, 3, 32, 32)
    patches = patches_of(images, 7, 0.25)
    assert patches.shape == (7, 7, 2, 3, 8, 8)
    for row in range(7):
        for column in range(7):
            square = images[:, :, 4 * row : 4 * row + 8, 4 * column : 4 * column + 8]
            assert torch.equal(patches[row, column], square)


def test_an_encoder_of_tiles_learns_from_the_patches_that_it_reads() -> None:
    torch.manual_seed(0)
    encoder = build_encoder(TiledConfig(inner=SmallConfig(widths=(8, 16)), grid=5, window=0.25), 3, 16)
    method = ContrastivePredictiveCoding(Config(grid=5, skip=1, steps=2), encoder)
    seen: list[torch.Tensor] = []
    method.context.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    batch = Batches({"unlabelled": Batch(IMAGES, torch.full((3,), -1), torch.arange(3))}, 0.0)
    method.losses(batch, Draw(0, "step"))
    assert torch.allclose(seen[0], encoder.maps(IMAGES), atol=1e-5)
    assert torch.allclose(seen[0].mean((2, 3)), encoder(IMAGES), atol=1e-5)


def test_a_grid_without_rows_to_predict_is_refused() -> None:
    with pytest.raises(ParameterError, match="a grid of 4 rows has no row 4 below its first"):
        made(grid=4, skip=1, steps=3)
