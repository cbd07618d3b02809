"""CIELAB against published values, and its round trip."""

import pytest
import torch
from torch import Tensor

from repflow.augment.color_spaces import lab_to_rgb, rgb_to_lab
from repflow.randomness.draws import Draw

# sRGB colours under D65 with the 2 degree observer, as colour tables give them.
PUBLISHED = {
    "black": ((0, 0, 0), (0.0, 0.0, 0.0)),
    "white": ((255, 255, 255), (100.0, 0.0, 0.0)),
    "red": ((255, 0, 0), (53.24, 80.09, 67.20)),
    "green": ((0, 255, 0), (87.73, -86.18, 83.18)),
    "blue": ((0, 0, 255), (32.30, 79.19, -107.86)),
    "yellow": ((255, 255, 0), (97.14, -21.55, 94.48)),
    "cyan": ((0, 255, 255), (91.11, -48.09, -14.13)),
    "magenta": ((255, 0, 255), (60.32, 98.23, -60.82)),
    "grey": ((128, 128, 128), (53.59, 0.0, 0.0)),
}


def image(values: tuple[float, ...]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64).view(1, 3, 1, 1)


@pytest.mark.parametrize("name", PUBLISHED)
def test_colours_have_their_published_values(name: str) -> None:
    rgb, lab = PUBLISHED[name]
    assert rgb_to_lab(image(rgb) / 255).flatten().tolist() == pytest.approx(lab, abs=0.02)
    assert lab_to_rgb(image(lab)).flatten().tolist() == pytest.approx([value / 255 for value in rgb], abs=2e-3)


@pytest.mark.parametrize(("dtype", "near"), [(torch.float32, 2e-4), (torch.float64, 1e-6)])
def test_round_trip(dtype: torch.dtype, near: float) -> None:
    images = Draw(0, "images").uniform(4, 3, 16, 16).to(dtype)
    images[:, :, :4] *= 0.02  # the straight part of both curves
    lab = rgb_to_lab(images)
    assert lab.dtype == dtype
    assert torch.allclose(lab_to_rgb(lab), images, atol=near)
    assert lab[:, 0].min() >= 0
    assert lab[:, 0].max() <= 100


def test_greys_have_no_colour_and_out_of_gamut_colours_are_clipped() -> None:
    greys = torch.linspace(0, 1, 50).view(1, 1, 1, 50).expand(1, 3, 1, 50)
    lab = rgb_to_lab(greys)
    assert lab[:, 1:].abs().max() < 0.02
    assert (lab[0, 0, 0].diff() > 0).all()
    shown = lab_to_rgb(image((50.0, 120.0, -120.0)))
    assert shown.min() == 0
    assert shown.max() <= 1


def test_mixed_precision_does_not_round_colours() -> None:
    images = Draw(0, "images").uniform(1, 3, 8, 8)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = rgb_to_lab(images)
    assert torch.equal(rounded, rgb_to_lab(images))


def test_black_has_a_gradient() -> None:
    images = torch.zeros(1, 3, 2, 2, requires_grad=True)
    lab_to_rgb(rgb_to_lab(images)).sum().backward()
    assert images.grad is not None
    assert torch.isfinite(images.grad).all()
