"""Exemplar: seed images as classes, against a naive loop over images."""

import numpy as np
import pytest
import torch
from scipy.special import log_softmax

from repflow.augment.operations import HorizontalFlip
from repflow.data.read.batches import Batches, Stream
from repflow.data.read.rows import Rows
from repflow.encoders import build_encoder
from repflow.encoders.convolutional import SmallConfig
from repflow.methods.pretext.exemplar import Config, Exemplar
from repflow.randomness.draws import Draw

PIXELS = np.random.default_rng(0).integers(0, 256, (23, 3, 16, 16)).astype(np.uint8)
STREAM = Stream("unlabelled", Rows(PIXELS, np.full(23, -1), np.arange(23), ()))


def begun(seeds: int | None) -> Exemplar:
    torch.manual_seed(0)
    encoder = build_encoder(SmallConfig(widths=(8, 16)), 3, 16)
    method = Exemplar(Config(augment=(HorizontalFlip(probability=1.0),), seeds=seeds), encoder)
    method.begin({"unlabelled": STREAM}, Draw(0, "begin"))
    return method


@pytest.mark.parametrize("seeds", [5, None])
def test_the_loss_is_cross_entropy_over_the_seed_images(seeds: int | None) -> None:
    method = begun(seeds)
    batch = STREAM.at(0, 8, seed=0)
    total = 0.0
    for row in batch.rows.tolist():
        place = row % (seeds or 23)
        pixels = PIXELS[method.seeds[place].item()].astype(np.float32) / 255
        with torch.no_grad():
            logits = method.head(method.encoder(torch.from_numpy(pixels[None, :, :, ::-1].copy())))[0]
        assert len(logits) == (seeds or 23)
        total -= log_softmax(logits.double().numpy())[place]
    found = method.losses(Batches({"unlabelled": batch}, 0.0), Draw(0, "step")).total
    assert found.item() == pytest.approx(total / 8, rel=1e-5)


def test_seeds_are_distinct_and_used_equally_often() -> None:
    method = begun(5)
    assert len(set(method.seeds.tolist())) == 5
    shown = np.bincount(STREAM.at(0, 23, seed=0).rows.numpy() % 5)
    assert shown.min() == 4
    assert shown.max() == 5
    assert begun(100).head.out_features == 23
