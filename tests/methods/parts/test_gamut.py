"""Colour classes against naive loops over colours, and CIELAB against reference values."""

import math

import pytest
import torch

from repflow.augment.color_spaces import lab_to_rgb, rgb_to_lab, without_colour
from repflow.methods.parts.gamut import Gamut
from repflow.randomness.draws import Draw

GAMUT = Gamut(10.0)


@pytest.mark.parametrize(
    ("colour", "lab"),
    [((1, 1, 1), (100, 0, 0)), ((1, 0, 0), (53.24, 80.09, 67.20)), ((0, 0, 1), (32.30, 79.19, -107.86))],
)
def test_lab_of_known_colours(colour: tuple[float, ...], lab: tuple[float, ...]) -> None:
    found = rgb_to_lab(torch.tensor(colour, dtype=torch.float32).view(1, 3, 1, 1)).flatten()
    assert found.tolist() == pytest.approx(lab, abs=0.05)


def test_lab_round_trip_also_in_mixed_precision() -> None:
    images = Draw(0, "images").uniform(4, 3, 8, 8)
    assert torch.allclose(lab_to_rgb(rgb_to_lab(images)), images, atol=1e-4)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = rgb_to_lab(images)
    assert torch.allclose(mixed, rgb_to_lab(images), atol=1e-3)


def test_without_colour_keeps_the_lightness_alone() -> None:
    images = Draw(0, "images").uniform(4, 3, 8, 8)
    grey = without_colour(images)
    assert torch.allclose(rgb_to_lab(grey)[:, 0], rgb_to_lab(images)[:, 0], atol=0.01)
    assert (grey.amax(1) - grey.amin(1)).max() < 1e-3


def test_bins_are_in_gamut_and_cover_it() -> None:
    assert len(GAMUT) == len({tuple(each) for each in GAMUT.centres.tolist()}) == 261
    colours = rgb_to_lab(Draw(0, "colours").uniform(5000, 3, 1, 1))[:, 1:, 0, 0]
    away = (colours[:, None] - GAMUT.centres).abs().amax(dim=2).amin(dim=1)
    assert away.max() <= 5.5


def test_soft_encoding_has_gaussian_weights_on_the_five_nearest_bins() -> None:
    colours = rgb_to_lab(Draw(0, "colours").uniform(3, 3, 2, 2))[:, 1:]
    shares = GAMUT.shares(colours)
    centres = GAMUT.centres.tolist()
    for image in range(3):
        for row in range(2):
            for column in range(2):
                a, b = colours[image, :, row, column].tolist()
                squares = sorted(((a - p) ** 2 + (b - q) ** 2, number) for number, (p, q) in enumerate(centres))[:5]
                weights = {number: math.exp(-square / (2 * 5**2)) for square, number in squares}
                expected = torch.zeros(len(GAMUT))
                for number, weight in weights.items():
                    expected[number] = weight / sum(weights.values())
                assert torch.allclose(shares[image, :, row, column], expected, atol=1e-5)


def test_the_annealed_mean_goes_from_the_mean_to_the_mode() -> None:
    logits = Draw(0, "logits").normal(2, len(GAMUT), 3, 3)
    for temperature in (1.0, 0.38):
        shares = (logits[1, :, 2, 0].double() / temperature).exp()
        mean = ((shares / shares.sum())[:, None] * GAMUT.centres).sum(dim=0)
        assert torch.allclose(GAMUT.annealed_mean(logits, temperature)[1, :, 2, 0].double(), mean, atol=1e-3)
    mode = GAMUT.centres[logits.argmax(dim=1)].movedim(-1, 1)
    assert torch.allclose(GAMUT.annealed_mean(logits, 1e-4), mode, atol=0.5)


def test_rebalancing_weights_favour_rare_colours_with_mean_1() -> None:
    shares = torch.zeros(len(GAMUT))
    shares[100], shares[200] = 0.9, 0.1
    centres, total = GAMUT.centres.double(), 0.0
    smooth = [
        sum(s * math.exp(-(math.dist(c, centres[i]) ** 2) / 50) for i, s in ((100, 0.9), (200, 0.1)))
        for c in centres.tolist()
    ]
    smooth = [each / sum(smooth) for each in smooth]
    expected = [1 / (0.5 * each + 0.5 / len(GAMUT)) for each in smooth]
    total = sum(each * weight for each, weight in zip(smooth, expected, strict=True))
    weights = GAMUT.rebalancing(shares, 0.5)
    assert weights.tolist() == pytest.approx([each / total for each in expected], rel=1e-4)
    assert weights[200] > weights[100]
    assert GAMUT.rebalancing(shares, 1.0).tolist() == pytest.approx([1.0] * len(GAMUT), rel=1e-5)
