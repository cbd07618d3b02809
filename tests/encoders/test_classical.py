"""Features without learned weights: oriented gradients as scikit-image computes them, and pixels."""

import numpy as np
import pytest
import torch
from skimage.feature import hog as reference
from torch import Tensor

from repflow.encoders import Encoder, EncoderConfig, build_encoder
from repflow.encoders.classical import ColourHistogramConfig, HOGConfig, PixelsConfig
from repflow.errors import ParameterError
from repflow.schema import build


def raw(config: HOGConfig | PixelsConfig | ColourHistogramConfig, channels: int, size: int) -> Encoder:
    """An encoder that leaves its images as they are."""
    encoder = build_encoder(config, channels, size).eval()
    encoder.set_normalisation(torch.zeros(channels), torch.ones(channels))
    return encoder


def images(channels: int, size: int) -> Tensor:
    """Noise, an image without any gradient, and one of straight edges, where directions lie on the bins' borders."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand(4, channels, size, size, generator=generator)
    edges = (torch.arange(size) % 8 < 4).float().expand(1, channels, size, size)
    return torch.cat([noise, torch.full((1, channels, size, size), 0.5), edges, edges.mT])


@pytest.mark.parametrize(("size", "channels", "cells"), [(32, 3, 4), (24, 3, 4), (28, 1, 4), (64, 3, 8), (30, 3, 3)])
def test_hog_is_scikit_images(size: int, channels: int, cells: int) -> None:
    given = images(channels, size)
    encoder = raw(HOGConfig(cells=cells), channels, size)
    pixels = size // cells
    expected = [
        reference(each.permute(1, 2, 0).numpy(), 9, (pixels, pixels), (2, 2), "L2-Hys", channel_axis=2)
        for each in given
    ]
    found = encoder(given)
    assert found.shape == (len(given), encoder.width)
    assert np.abs(found.numpy() - np.stack(expected)).max() < 1e-6


def test_other_directions_and_blocks_are_scikit_images_too() -> None:
    given = images(3, 32)
    expected = [reference(each.permute(1, 2, 0).numpy(), 6, (4, 4), (3, 3), "L2-Hys", channel_axis=2) for each in given]
    found = raw(HOGConfig(cells=8, directions=6, block=3), 3, 32)(given)
    assert np.abs(found.numpy() - np.stack(expected)).max() < 1e-6


def test_images_that_are_too_small_for_the_cells_are_refused() -> None:
    with pytest.raises(ParameterError, match="hog with 4 cells does not fit images of 7 pixels"):
        build_encoder(HOGConfig(cells=4), 3, 7)


def test_pixels_are_the_pixels_and_large_images_are_averaged() -> None:
    given = images(3, 32)
    assert torch.equal(raw(PixelsConfig(), 3, 32)(given), given.flatten(1))
    encoder = raw(PixelsConfig(most=16), 3, 32)
    assert encoder.width == 3 * 16 * 16
    means = given.unflatten(3, (16, 2)).unflatten(2, (16, 2)).mean(dim=(3, 5))
    assert torch.allclose(encoder(given), means.flatten(1))


def test_both_are_encoders_of_the_configuration() -> None:
    assert build(EncoderConfig, {"name": "hog", "cells": 8}, "encoder") == HOGConfig(cells=8)
    assert build(EncoderConfig, {"name": "pixels"}, "encoder") == PixelsConfig()


@pytest.mark.parametrize(("channels", "bins"), [(3, 4), (1, 8)])
def test_colour_histograms_are_numpy_s(channels: int, bins: int) -> None:
    given = images(channels, 8).clamp(0, 1)
    given[0, :, 0, 0] = 1.0  # the last bin has both of its ends
    encoder = raw(ColourHistogramConfig(bins=bins), channels, 8)
    found = encoder(given).numpy()
    assert found.shape == (len(given), encoder.width) == (len(given), bins**channels)
    for row, image in zip(found, given, strict=True):
        points = image.flip(0).flatten(1).T.numpy()  # the first channel's bins change fastest
        counts, _ = np.histogramdd(points, bins=bins, range=[(0, 1)] * channels)
        assert np.allclose(row, counts.flatten() / 64)
