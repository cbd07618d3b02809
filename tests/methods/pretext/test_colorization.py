"""Colorization: loss against a naive loop over positions, rebalancing weights, and grey inputs."""

import pytest
import torch
from scipy.special import log_softmax
from torch import Tensor

from repflow.augment.color_spaces import without_colour
from repflow.data.read.batches import Batch, Batches, Stream
from repflow.data.read.rows import Rows
from repflow.encoders import build_encoder
from repflow.encoders.convolutional import SmallConfig
from repflow.encoders.encoder import Pooled
from repflow.encoders.lightness import LightnessConfig, LightnessEncoder, lightness
from repflow.errors import ParameterError
from repflow.methods.pretext.colorization import Colorization, Config
from repflow.randomness.draws import Draw

IMAGES = (Draw(0, "images").integers(5, 3, 16, 16, high=256) / 255).float()
BATCH = Batches({"unlabelled": Batch(IMAGES, torch.full((5,), -1), torch.arange(5))}, 0.0)


@pytest.fixture
def method() -> Colorization:
    torch.manual_seed(0)
    found = Colorization(Config(grid=20.0, side=4, decoder=(8,)), build_encoder(SmallConfig(widths=(8, 16)), 3, 16))
    numbers = torch.arange(5).numpy()
    rows = Rows((IMAGES * 255).round().byte().numpy(), 0 * numbers - 1, numbers, ())
    found.begin({"unlabelled": Stream("unlabelled", rows)}, Draw(0, "begin"))
    return found


def test_the_loss_is_the_weighted_cross_entropy_of_every_position(method: Colorization) -> None:
    found = method.losses(BATCH, Draw(0, "step"))
    wanted = method.target_distribution(IMAGES).double()
    with torch.no_grad():
        maps = method.encoder.maps(without_colour(IMAGES))
        logits = method.decoder(maps, (4, 4)).double().numpy()
    total = 0.0
    for image in range(5):
        for row in range(4):
            for column in range(4):
                shares = wanted[image, :, row, column]
                weight = method.weights[shares.argmax()].item()
                total -= weight * (shares.numpy() * log_softmax(logits[image, :, row, column])).sum()
    assert found.total.item() == pytest.approx(total / 80, rel=1e-4)


def test_the_encoder_gets_no_colour(method: Colorization) -> None:
    seen: list[Tensor] = []
    assert isinstance(method.encoder.body, Pooled)
    method.encoder.body.maps.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    method.losses(BATCH, Draw(0, "step"))
    assert (seen[0].amax(1) - seen[0].amin(1)).max() < 1e-3


def test_an_encoder_of_lightness_learns_from_what_it_reads() -> None:
    torch.manual_seed(0)
    encoder = build_encoder(LightnessConfig(inner=SmallConfig(widths=(8, 16))), 3, 16)
    method = Colorization(Config(grid=20.0, side=4, decoder=(8,)), encoder)
    seen: list[Tensor] = []
    assert isinstance(encoder, LightnessEncoder)
    assert isinstance(encoder.inner.body, Pooled)
    encoder.inner.body.maps.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    method.losses(BATCH, Draw(0, "step"))
    encoder(IMAGES)
    assert torch.equal(seen[0], seen[1])
    assert torch.allclose(seen[0] * 0.25 + 0.5, lightness(IMAGES), atol=1e-6)
    assert method.eval().figures(IMAGES).shape == (5, 3, 3, 16, 16)


def test_rebalancing_weights_are_those_of_the_training_colours(method: Colorization) -> None:
    shares = method.target_distribution(IMAGES).mean((0, 2, 3))
    assert torch.allclose(method.weights, method.gamut.rebalancing(shares, 0.5), rtol=1e-3)
    assert method.weights.min() < 1 < method.weights.max()


def test_figures_keep_the_lightness(method: Colorization) -> None:
    figures = method.eval().figures(IMAGES)
    assert figures.shape == (5, 3, 3, 16, 16)
    assert torch.equal(figures[:, 0], IMAGES)
    assert (figures[:, 1].amax(1) - figures[:, 1].amin(1)).max() < 1e-3
    assert figures.min() >= 0
    assert figures.max() <= 1


def test_grey_images_are_refused() -> None:
    with pytest.raises(ParameterError, match=r"set data.channels to 3"):
        Colorization(Config(), build_encoder(SmallConfig(), 1, 16))
