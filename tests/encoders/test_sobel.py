"""The encoder of gradients: against SciPy's Sobel filter."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from repflow.encoders import build_encoder
from repflow.encoders.convolutional import SmallConfig
from repflow.encoders.encoder import Encoder
from repflow.encoders.sobel import SobelEncoder
from repflow.randomness.draws import Draw, seeded

IMAGES = Draw(0, "images").uniform(3, 3, 9, 9)
MEAN, STD = torch.tensor([0.4, 0.5, 0.6]), torch.tensor([0.2, 0.3, 0.1])


def encoder(channels: int = 3) -> SobelEncoder:
    with seeded(0, "weights"):
        found = SobelEncoder(build_encoder(SmallConfig(widths=(4, 8)), 2, 9), channels)
    found.set_normalisation(MEAN[:channels], STD[:channels])
    return found


@pytest.mark.parametrize("channels", [1, 3])
def test_gradients_are_those_of_the_normalised_grey_image(channels: int) -> None:
    found = encoder(channels).gradients(IMAGES[:, :channels]).numpy()
    for image, gradients in zip(IMAGES[:, :channels].numpy(), found, strict=True):
        mean, std = MEAN[:channels].numpy()[:, None, None], STD[:channels].numpy()[:, None, None]
        grey = ((image - mean) / std).mean(axis=0)
        for axis, gradient in zip((1, 0), gradients, strict=True):
            np.testing.assert_allclose(gradient, -ndimage.sobel(grey, axis=axis, mode="constant"), atol=1e-4)


def test_features_and_maps_are_the_inner_encoder_s_without_another_normalisation() -> None:
    made = encoder()
    with torch.no_grad():
        maps = made.inner.body.maps(made.gradients(IMAGES))
        assert torch.allclose(made.maps(IMAGES), maps, atol=1e-6)
        assert torch.allclose(made(IMAGES), maps.mean(dim=(2, 3)), atol=1e-6)
        assert made(IMAGES).shape == (3, made.width) == (3, 8)


def test_colours_are_not_seen() -> None:
    made = encoder()
    with torch.no_grad():
        assert torch.allclose(made(IMAGES.flip(1) * 0 + 0.3), made(IMAGES * 0 + 0.3), atol=1e-6)
        shift = torch.tensor([0.02, -0.03, 0.0])[:, None, None]  # the mean of shift / STD is 0
        assert torch.allclose(made(IMAGES + shift), made(IMAGES), atol=1e-4)


def test_the_filters_are_no_parameters_and_not_in_the_state() -> None:
    made = encoder()
    assert isinstance(made, Encoder)
    assert "filters" not in made.state_dict()
    assert {name for name, _ in made.named_parameters()} == {
        f"body.{name}" for name, _ in made.inner.named_parameters()
    }
