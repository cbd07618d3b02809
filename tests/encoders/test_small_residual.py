"""The small residual network and its local contrast normalisation."""

import numpy as np
import pytest
import torch
from scipy.ndimage import uniform_filter

from repflow.encoders import build_encoder
from repflow.encoders.small_residual import Block, LocalContrast, SmallResNetConfig


def test_local_contrast_equals_scipys_filters() -> None:
    image = np.random.default_rng(0).random((3, 20, 24))
    found = LocalContrast(9, 0.1)(torch.from_numpy(image)[None])[0].numpy()
    mean = uniform_filter(image.mean(0), 9, mode="mirror")
    centred = image - mean
    variance = uniform_filter((centred**2).mean(0), 9, mode="mirror")
    np.testing.assert_allclose(found, centred / np.sqrt(variance + 0.01), atol=1e-9)


def test_lighting_hardly_changes_what_the_network_sees() -> None:
    images = torch.rand(2, 3, 32, 32) * 4 - 2  # as after the input normalisation
    normalise = LocalContrast(9, 0.01)
    darker = 0.3 * images - 1.0
    assert torch.allclose(normalise(images), normalise(darker), atol=0.01)


def test_a_flat_image_stays_flat() -> None:
    assert torch.allclose(LocalContrast(9, 0.1)(torch.full((1, 3, 16, 16), 0.7)), torch.zeros(()), atol=1e-5)


@pytest.mark.parametrize("size", [8, 16, 28, 33, 64, 105])
@pytest.mark.parametrize("channels", [1, 3])
def test_images_of_any_size_are_taken(size: int, channels: int) -> None:
    encoder = build_encoder(SmallResNetConfig(), channels, size).eval()
    images = torch.rand(2, channels, size, size)
    assert encoder(images).shape == (2, encoder.width) == (2, 128)
    assert encoder.maps(images).shape[1] == 128


def test_a_block_starts_as_its_shortcut() -> None:
    maps = torch.rand(2, 8, 6, 6)
    assert torch.equal(Block(8, 8, stride=1)(maps), maps)
    assert torch.allclose(Block(8, 8, stride=2)(maps), torch.nn.functional.avg_pool2d(maps, 2))
