"""Rotation prediction against a naive loop over images and rotations."""

import numpy as np
import pytest
import torch
from scipy.special import log_softmax

from repflow.data.read.batches import Batch, Batches
from repflow.encoders import build_encoder
from repflow.encoders.convolutional import SmallConfig
from repflow.methods.pretext.rotation import Config, Rotation
from repflow.randomness.draws import Draw


def test_the_loss_is_cross_entropy_over_four_rotations_of_each_image() -> None:
    torch.manual_seed(0)
    images = Draw(0, "images").uniform(5, 3, 16, 16)
    method = Rotation(Config(), build_encoder(SmallConfig(widths=(8, 16)), 3, 16))
    total, right = 0.0, 0
    for image in images.numpy():
        for turns in range(4):
            turned = torch.from_numpy(np.rot90(image, turns, axes=(1, 2)).copy())
            with torch.no_grad():
                logits = method.head(method.encoder(turned[None]))[0].double().numpy()
            total -= log_softmax(logits)[turns]
            right += int(logits.argmax() == turns)
    found = method.losses(
        Batches({"unlabelled": Batch(images, torch.full((5,), -1), torch.arange(5))}, 0.0), Draw(0, "s")
    )
    assert found.total.item() == pytest.approx(total / 20, rel=1e-5)
    assert found.metrics["accuracy"].item() == pytest.approx(right / 20)
