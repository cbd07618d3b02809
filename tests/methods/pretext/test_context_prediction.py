"""Context prediction against a naive loop over pairs of patches."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import log_softmax

from repflow.data.read.batches import Batch, Batches
from repflow.encoders import build_encoder
from repflow.encoders.convolutional import SmallConfig
from repflow.encoders.tiled import TiledConfig
from repflow.methods.parts.tiles import cut_tiles
from repflow.methods.pretext.context_prediction import (
    Config,
    ContextPrediction,
    one_colour,
    without_green_to_magenta,
)
from repflow.randomness.draws import Draw
from repflow.schema import build
from repflow.stages.learning import check_method

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


def test_dropped_colours_leave_one_channel_of_every_patch() -> None:
    encoder = build_encoder(SmallConfig(widths=(8,)), 3, 32)
    patches = Draw(0, "patches").normal(50, 9, 3, 8, 8)
    dropped = one_colour(patches, encoder, Draw(0, "colours"))
    kept = (dropped == patches).all(dim=(3, 4))  # [50, 9, 3]
    assert (kept.sum(dim=2) == 1).all()
    assert kept.float().mean((0, 1)).tolist() == pytest.approx([1 / 3] * 3, abs=0.07)
    noise = (dropped[~kept] - 0.5) / 0.25  # in units of the encoder
    assert noise.std().item() == pytest.approx(0.01, rel=0.1)
    assert noise.mean().item() == pytest.approx(0, abs=0.001)


def test_projected_colours_are_those_of_the_paper_s_matrix() -> None:
    axis = np.array([[-1.0, 2.0, -1.0]])
    matrix = np.eye(3) - axis.T @ axis / (axis @ axis.T)
    expected = np.einsum("dc,bchw->bdhw", matrix, IMAGES.double().numpy())
    assert without_green_to_magenta(IMAGES).numpy() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("colours", ["dropped", "projected"])
def test_every_choice_of_colours_changes_the_patches_of_colour_images_alone(colours: str) -> None:
    def patches(images: torch.Tensor, **settings: Any) -> torch.Tensor:
        encoder = build_encoder(SmallConfig(widths=(8,)), images.shape[1], 32)
        return ContextPrediction(Config(side=12, **settings), encoder).patches(images, Draw(0, "step"))

    assert not torch.allclose(patches(IMAGES, colours=colours), patches(IMAGES), atol=1e-3)
    assert torch.equal(patches(IMAGES[:, :1], colours=colours), patches(IMAGES[:, :1]))


def test_a_third_of_the_patches_is_reduced_to_fewer_pixels(configuration: dict[str, Any]) -> None:
    section = configuration["methods"]["pretrain"]["context_prediction"]
    _, settings, _ = check_method({**section, "settings": {**section["settings"], "augment": []}}, "context")
    encoder = build_encoder(SmallConfig(widths=(8,)), 3, 32)
    images = Draw(1, "images").uniform(100, 3, 32, 32)
    seen = ContextPrediction(settings, encoder).patches(images, Draw(0, "step"))
    sharp = build(Config, {**section["settings"], "augment": [], "augment_patches": []}, "context")
    changed = (seen != ContextPrediction(sharp, encoder).patches(images, Draw(0, "step"))).flatten(2).any(2)  # [100, 9]
    assert changed.float().mean().item() == pytest.approx(0.33, abs=0.06)
    assert 0 < changed.sum(1).float().mean() < 9, "each patch by itself"


def test_an_encoder_of_tiles_sees_what_it_reads() -> None:
    torch.manual_seed(0)
    tiled = TiledConfig(inner=SmallConfig(widths=(8, 16)), grid=3, window=1 / 3, side=12, standardise=True)
    encoder = build_encoder(tiled, 3, 30)
    method = ContextPrediction(Config(side=12, patch=1.0, jitter=0.0, hidden=16), encoder)
    images = IMAGES[..., :30, :30]
    batch = Batches({"unlabelled": Batch(images, torch.full((3,), -1), torch.arange(3))}, 0.0)
    with torch.no_grad():
        maps = encoder.maps(images).flatten(2)  # [3, 16, 9]
        total = 0.0
        for image in range(3):
            for place, other in enumerate((0, 1, 2, 3, 5, 6, 7, 8)):
                logits = method.head(torch.cat([maps[image, :, 4], maps[image, :, other]])).double().numpy()
                total -= log_softmax(logits)[place]
    assert method.losses(batch, Draw(0, "step")).total.item() == pytest.approx(total / 24, rel=1e-4)
