"""The context encoder: masks, losses and figures."""

from typing import Any, get_args

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from repflow.data.read.batches import Batch, Batches
from repflow.encoders import build_encoder
from repflow.encoders.convolutional import SmallConfig
from repflow.methods.pretext.inpainting import Config, ContextEncoder, Missing, holes
from repflow.randomness.draws import Draw

IMAGES = Draw(0, "images").uniform(6, 3, 32, 32)
BATCH = Batches({"unlabelled": Batch(IMAGES, torch.full((6,), -1), torch.arange(6))}, 0.0)


def method(missing: Missing = "blocks", adversarial: float = 0.0, bottleneck: Any = "pooled") -> ContextEncoder:
    torch.manual_seed(0)
    config = Config((), missing, adversarial, bottleneck, decoder=(8, 8), discriminator=(8, 8))
    return ContextEncoder(config, build_encoder(SmallConfig(widths=(8, 16)), 3, 32))


def test_a_quarter_is_masked_differently_for_each_image() -> None:
    central, blocks, region = (holes(IMAGES, missing, Draw(0, "m")) for missing in get_args(Missing))
    square = torch.zeros(32, 32)
    square[8:24, 8:24] = 1
    assert torch.equal(central, square.expand(6, 1, 32, 32))
    assert region.mean((1, 2, 3)).tolist() == pytest.approx([0.25] * 6, abs=0.01)
    shares = blocks.mean((1, 2, 3))
    assert shares.max() <= 0.25
    assert shares.min() >= 0.0625
    assert not torch.equal(blocks[0], blocks[1])
    assert not torch.equal(region[0], region[1])


def test_blocks_are_four_squares() -> None:
    found = holes(IMAGES, "blocks", Draw(0, "m"))
    corners = (Draw(0, "m").uniform(6, 4, 2) * 25).long().tolist()
    for mask, places in zip(found, corners, strict=True):
        expected = torch.zeros(32, 32)
        for row, column in places:
            expected[row : row + 8, column : column + 8] = 1
        assert torch.equal(mask[0], expected)


def test_the_decoder_may_get_the_feature_maps() -> None:
    painter = method(bottleneck="maps")
    missing = holes(IMAGES, "blocks", Draw(0, "m"))
    masked = torch.where(missing > 0, torch.tensor(0.5), IMAGES)
    with torch.no_grad():
        expected = painter.decoder(painter.encoder.maps(masked), (32, 32))
        assert torch.equal(painter.paint(IMAGES, missing), expected)


def test_a_position_of_the_last_maps_sees_41_pixels() -> None:
    """So that no layer has to carry information across 32 pixels, as the paper's does."""
    encoder = build_encoder(SmallConfig(), 3, 96)
    for module in encoder.modules():
        if isinstance(module, torch.nn.GroupNorm):  # which sees everything
            module.forward = lambda given: given  # type: ignore[method-assign]
    images = torch.rand(1, 3, 96, 96, requires_grad=True)
    encoder.maps(images)[0, :, 6, 6].sum().backward()
    assert images.grad is not None
    assert (images.grad.abs().sum((0, 1)) > 0).any(0).sum() <= 41
    assert (images.grad.abs().sum((0, 1)) > 0).any(0).sum() >= 37


@pytest.mark.parametrize("missing", get_args(Missing))
def test_the_loss_is_the_mean_squared_error_of_masked_regions(missing: Missing) -> None:
    painter = method(missing)
    seen: list[Tensor] = []
    painter.encoder.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    loss = painter.losses(BATCH, Draw(0, "step")).total
    masks = holes(IMAGES, missing, Draw(0, "step").stream("missing"))
    total = 0.0
    with torch.no_grad():
        for image, mask, given in zip(IMAGES, masks, seen[0], strict=True):
            gone = mask[0] > 0
            assert torch.equal(given[:, ~gone], image[:, ~gone])
            assert (given[:, gone] == 0.5).all(), "the encoder sees nothing of what is missing"
            painted = painter.decoder(painter.encoder(given[None]), (32, 32))[0]
            total += (painted[:, gone] - image[:, gone]).double().square().mean().item()
    assert loss.item() == pytest.approx(total / 6, rel=1e-5)


def test_the_adversarial_loss_is_weighted() -> None:
    game = method(adversarial=0.1)
    discriminate, paint = game.updates
    assert discriminate.modules == (game.discriminator,)
    found = game(BATCH, Draw(0, "step"), 1)
    images, missing = game.view(BATCH, Draw(0, "step"))
    painted = torch.where(missing > 0, game.paint(images, missing), images)
    scores = game.discriminator(painted)  # type: ignore[misc]
    expected = F.binary_cross_entropy_with_logits(scores, torch.ones_like(scores))
    assert found.metrics["adversarial"].item() == pytest.approx(expected.item(), rel=1e-5)
    assert found.total.item() == pytest.approx((found.metrics["error"] + 0.1 * expected).item(), rel=1e-5)
    found.total.backward()
    assert all(weight.grad is not None for module in paint.modules for weight in module.parameters())

    game.zero_grad()
    told = game(BATCH, Draw(0, "step"), 0).total
    real = game.discriminator(images)  # type: ignore[misc]
    both = F.binary_cross_entropy_with_logits(torch.cat([real, scores]), torch.cat([real * 0 + 1, scores * 0]))
    assert told.item() == pytest.approx(2 * both.item(), rel=1e-5), "the paper adds the two, the mean halves them"
    told.backward()
    assert all(weight.grad is None for weight in game.encoder.parameters()), "the discriminator learns alone"


def test_figures_show_image_mask_and_inpainting() -> None:
    whole, lacking, painted = method("central").eval().figures(IMAGES).unbind(1)
    assert torch.equal(whole, IMAGES)
    assert (lacking[:, :, 8:24, 8:24] == 0.5).all()
    assert torch.equal(painted[:, :, :8], IMAGES[:, :, :8])
    assert not torch.equal(painted, lacking)
