"""The encoder of lightness: what it sees against the formulas of CIELAB, and that nothing else reaches it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from repflow.augment.color_spaces import lab_to_rgb, without_colour
from repflow.encoders import Encoder, build_encoder
from repflow.encoders.build import forward_flops
from repflow.encoders.convolutional import SmallConfig
from repflow.encoders.encoder import Pooled
from repflow.encoders.lightness import LightnessConfig, LightnessEncoder, without_colour_for
from repflow.encoders.model_files import Description, load_encoder, read_description, save_model
from repflow.encoders.small_residual import SmallResNetConfig
from repflow.encoders.transformer import ViTConfig
from repflow.errors import ParameterError

SMALL = SmallConfig(widths=(8, 16))
IMAGES = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def made(channels: int = 3) -> LightnessEncoder:
    torch.manual_seed(0)
    encoder = build_encoder(LightnessConfig(inner=SMALL), channels, 16).eval()
    assert isinstance(encoder, LightnessEncoder)
    return encoder


def seen_by(encoder: LightnessEncoder, images: Tensor) -> Tensor:
    """What the body of the inner encoder gets, after its input normalisation."""
    seen: list[Tensor] = []
    assert isinstance(encoder.inner.body, Pooled)
    with encoder.inner.body.maps.register_forward_pre_hook(lambda module, given: seen.append(given[0])):
        encoder(images)
    return seen[0]


def test_the_inner_encoder_sees_the_normalised_lightness_alone() -> None:
    encoder = made()
    encoder.set_normalisation(torch.tensor([0.3, 0.4, 0.5]), torch.tensor([0.1, 0.2, 0.3]))
    values = IMAGES.double().numpy()
    linear = np.where(values > 0.04045, ((values + 0.055) / 1.055) ** 2.4, values / 12.92)
    y = np.tensordot(linear, np.array([0.212671, 0.715160, 0.072169]), (1, 0))
    share = 1.16 * np.where(y > (6 / 29) ** 3, np.cbrt(y), y * (29 / 6) ** 2 / 3 + 4 / 29) - 0.16  # L* / 100
    seen = seen_by(encoder, IMAGES)
    assert seen.shape == (2, 1, 16, 16)
    assert seen[:, 0].numpy() == pytest.approx((share - 0.4) / 0.2, abs=1e-4)


def test_images_of_the_same_lightness_have_the_same_features() -> None:
    encoder = made()
    lightness = 40 + 20 * IMAGES[:, :1]
    red, blue = (
        lab_to_rgb(torch.cat([lightness, torch.full_like(lightness, a), torch.full_like(lightness, b)], dim=1))
        for a, b in ((20.0, 5.0), (0.0, -25.0))
    )
    assert (red - blue).abs().mean() > 0.1
    assert torch.allclose(encoder(red), encoder(blue), atol=1e-3)
    assert torch.allclose(encoder(IMAGES), encoder(without_colour(IMAGES)), atol=1e-3)
    assert not torch.allclose(encoder(red), encoder(1 - red))


def test_the_one_channel_of_grey_images_is_taken_as_it_is() -> None:
    encoder, grey = made(channels=1), IMAGES[:, :1]
    assert torch.equal(encoder(grey), encoder.inner(grey))


def test_maps_are_those_of_the_inner_encoder() -> None:
    encoder = made()
    assert torch.allclose(encoder.maps(IMAGES).mean((2, 3)), encoder(IMAGES), atol=1e-6)
    transformer = build_encoder(LightnessConfig(inner=ViTConfig(layers=1)), 3, 16)
    with pytest.raises(ParameterError, match="needs an encoder with feature maps"):
        transformer.maps(IMAGES)


def test_any_encoder_that_is_to_see_no_colour_gets_none() -> None:
    assert without_colour_for(made(), IMAGES) is IMAGES
    plain: Encoder = build_encoder(SmallResNetConfig(), 3, 16)
    assert torch.equal(without_colour_for(plain, IMAGES), without_colour(IMAGES))


def test_a_model_of_lightness_is_restored(tmp_path: Path) -> None:
    encoder = made()
    description = Description(LightnessConfig(inner=SMALL), {"size": 16, "channels": 3, "resize": "stretch"})
    save_model(tmp_path / "model", encoder, description)
    assert read_description(tmp_path / "model") == description
    with torch.no_grad():
        assert torch.equal(load_encoder(tmp_path / "model")(IMAGES), encoder(IMAGES))


def test_it_costs_what_the_inner_encoder_costs_for_one_channel() -> None:
    assert forward_flops(LightnessConfig(inner=SMALL), 3, 16) == forward_flops(SMALL, 1, 16)
