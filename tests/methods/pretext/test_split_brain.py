"""The split-brain autoencoder: inputs and predictions of each half, against a naive loop over cells."""

import pytest
import torch
import torch.nn.functional as F
from scipy.special import log_softmax
from torch import Tensor

from repflow.augment.color_spaces import lab_to_rgb, rgb_to_lab
from repflow.data.read.batches import Batch, Batches
from repflow.encoders import build_encoder
from repflow.encoders.convolutional import SmallConfig
from repflow.encoders.split import SplitConfig, SplitEncoder
from repflow.errors import ParameterError
from repflow.methods.pretext.split_brain import Config, SplitBrain, binned
from repflow.randomness.draws import Draw

IMAGES = Draw(0, "images").uniform(4, 3, 16, 16, low=0.2, high=0.8)


@pytest.fixture
def method() -> SplitBrain:
    torch.manual_seed(0)
    config = Config(cells=2, lightness_bins=5, colour_bins=3)
    return SplitBrain(config, build_encoder(SplitConfig(half=SmallConfig(widths=(8, 16))), 3, 16))


def test_the_loss_is_cross_entropy_over_the_bins_of_every_cell(method: SplitBrain) -> None:
    lab = rgb_to_lab(IMAGES)
    parts = lab[:, :1] / 50 - 1, lab[:, 1:] / 110
    with torch.no_grad():
        maps = method.encoder.halves(parts)
        outputs = [layer(each) for layer, each in zip((method.to_colour, method.to_lightness), maps, strict=True)]
    totals = [0.0, 0.0]
    assert outputs[0].shape == (4, 9 * 4, 4, 4)
    for image in range(4):
        for row in range(8):
            for column in range(8):
                place = (row // 2, column // 2)
                inside = 2 * (row % 2) + column % 2  # of the place's 2x2 cells
                cell = lab[image, :, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2].double().mean((1, 2))
                lightness = int(cell[0] / 100 * 5)
                red, yellow = (int((value / 110 + 1) / 2 * 3) for value in cell[1:])
                for number, (classes, wanted) in enumerate(((9, 3 * red + yellow), (5, lightness))):
                    logits = outputs[number][image, :, *place].double().view(classes, 4)[:, inside]
                    totals[number] -= log_softmax(logits.numpy())[wanted] / (4 * 8 * 8)
    batch = Batches({"unlabelled": Batch(IMAGES, torch.full((4,), -1), torch.arange(4))}, 0.0)
    found = method.losses(batch, Draw(0, "step"))
    assert found.metrics["colour"].item() == pytest.approx(totals[0], rel=1e-5)
    assert found.metrics["lightness"].item() == pytest.approx(totals[1], rel=1e-5)
    assert found.total.item() == pytest.approx(sum(totals), rel=1e-5)


def recoloured() -> Tensor:
    """Other hues of the same lightness; paler ones alone would be the same to a normalised layer."""
    lab = rgb_to_lab(IMAGES)
    return lab_to_rgb(lab * torch.tensor([1, -0.2, 0.2]).view(3, 1, 1))


def test_a_half_encoder_does_not_see_its_targets(method: SplitBrain) -> None:
    encoder = method.encoder
    with torch.no_grad():
        plain, other, dark = (encoder(each) for each in (IMAGES, recoloured(), 0.5 * IMAGES))
    half = encoder.width // 2
    assert torch.allclose(plain[:, :half], other[:, :half], atol=1e-3)
    assert not torch.allclose(plain[:, half:], other[:, half:], atol=1e-3)
    assert not torch.allclose(plain[:, :half], dark[:, :half], atol=1e-3)
    greys = torch.linspace(0.1, 0.9, 4).view(4, 1, 1, 1).expand(4, 3, 16, 16)
    with torch.no_grad():
        features = encoder(greys)
    assert torch.allclose(features[:1, half:].expand(4, -1), features[:, half:], atol=1e-3)


def test_values_out_of_range_are_in_the_end_bins() -> None:
    values = torch.tensor([-1.5, -1.0, -0.01, 0.01, 1.0, 1.5]).view(1, 1, 1, 6)
    assert binned(values, 4).flatten().tolist() == [0, 0, 1, 2, 3, 3]
    assert binned(torch.cat([values, -values], dim=1), 4).flatten().tolist() == [3, 3, 6, 9, 12, 12]


def test_other_encoders_and_grey_images_are_refused() -> None:
    with pytest.raises(ParameterError, match="split_brain needs one of two halves"):
        SplitBrain(Config(), build_encoder(SmallConfig(), 3, 16))
    with pytest.raises(ParameterError, match="takes images with colours"):
        SplitEncoder(SplitConfig(half=SmallConfig()), 1, 16)


@pytest.mark.parametrize("axes", [1, 2])
def test_a_certain_prediction_is_the_centre_of_its_bin(method: SplitBrain, axes: int) -> None:
    values = Draw(0, "values").uniform(4, axes, 8, 8, low=-1.0, high=1.0)
    sure = 1000 * F.one_hot(binned(values, 6), 6**axes).movedim(-1, 1).float()  # [4, 6 ** axes, 8, 8]
    found = method.mean(F.pixel_unshuffle(sure, 2), 6, axes)
    assert found.shape == values.shape
    assert (found - values).abs().max() <= 1 / 6 + 1e-6
    assert torch.equal(binned(found, 6), binned(values, 6))


def test_figures_keep_the_input_channels_of_each_half(method: SplitBrain) -> None:
    image, coloured, lit = method.eval().figures(IMAGES).unbind(1)
    assert torch.equal(image, IMAGES)
    lab, given, guessed = (rgb_to_lab(each) for each in (image, coloured, lit))
    assert torch.allclose(given[:, 0], lab[:, 0], atol=0.5)
    assert not torch.allclose(given[:, 1:], lab[:, 1:], atol=5)
    assert (guessed[:, 1:] - lab[:, 1:]).abs().median() < 0.5, "but for colours that no screen shows"
    assert not torch.allclose(guessed[:, 0], lab[:, 0], atol=5)
