"""Context prediction against a naive loop over pairs of patches."""

import pytest
import torch
from scipy.special import log_softmax

from repflow.data.read.batches import Batch, Batches
from repflow.encoders import build_encoder
from repflow.encoders.convolutional import SmallConfig
from repflow.methods.parts.tiles import cut_tiles
from repflow.methods.pretext.context_prediction import Config, ContextPrediction, one_colour
from repflow.randomness.draws import Draw

IMAGES = Draw(0, "images").uniform(3, 3, 32, 32)
BATCH = Batches({"unlabelled": Batch(IMAGES, torch.full((3,), -1), torch.arange(3))}, 0.0)


@pytest.fixture
def method() -> ContextPrediction:
    torch.manual_seed(0)
    return ContextPrediction(Config(side=12, hidden=16), build_encoder(SmallConfig(widths=(8, 16)), 3, 32))


def test_the_loss_is_the_mean_over_the_eight_neighbours_of_every_centre(method: ContextPrediction) -> None:
    found = method.losses(BATCH, Draw(0, "step"))
    patches = method.patches(IMAGES, Draw(0, "step"))
    total, right = 0.0, 0
    with torch.no_grad():
        for image in patches:
            around = [patch for number, patch in enumerate(image) if number != 4]
            for place, patch in enumerate(around):
                pair = torch.cat([method.encoder(image[4][None]), method.encoder(patch[None])], dim=1)
                logits = method.head(pair)[0].double().numpy()
                total -= log_softmax(logits)[place]
                right += int(logits.argmax() == place)
    assert found.total.item() == pytest.approx(total / 24, rel=1e-5)
    assert found.metrics["accuracy"].item() == pytest.approx(right / 24)


def test_places_are_numbered_row_by_row() -> None:
    ramp = 32 * torch.arange(32.0).view(32, 1) + torch.arange(32.0)  # brighter to the right, and more so further down
    means = cut_tiles(ramp.expand(1, 3, 32, 32), 0.7, 0.0, 8, Draw(0, "tiles")).mean((2, 3, 4))[0]
    assert means.argsort().tolist() == list(range(9))


def test_brightness_and_contrast_of_patches_are_removed(method: ContextPrediction) -> None:
    bright = method.patches(0.5 + 0.5 * IMAGES, Draw(0, "step"))
    assert torch.allclose(bright, method.patches(IMAGES, Draw(0, "step")), atol=0.05)


def test_drop_colours_keeps_one_channel_of_every_patch() -> None:
    patches = Draw(0, "patches").normal(50, 9, 3, 8, 8)
    dropped = one_colour(patches, Draw(0, "colours"))
    kept = (dropped == patches).all(dim=(3, 4))  # [50, 9, 3]
    assert (kept.sum(dim=2) == 1).all()
    assert kept.float().mean((0, 1)).tolist() == pytest.approx([1 / 3] * 3, abs=0.07)
    assert dropped[~kept].std().item() == pytest.approx(0.01, rel=0.1)
