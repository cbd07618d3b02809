"""Resizing whole batches gives the pixels that Pillow gives for one image at a time."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from repflow.data.ingest.resizing import FILTER, placement, resize_batch


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 3), st.integers(8, 40), st.integers(0, 99))
@settings(deadline=None, max_examples=60)
def test_a_stretched_batch_has_pillows_pixels(width: int, height: int, channels: int, size: int, seed: int) -> None:
    images = np.random.default_rng(seed).integers(70, 180, (2, channels, height, width), dtype=np.uint8)
    resized = resize_batch(images, size)
    for image, result in zip(images.reshape(-1, height, width), resized.reshape(-1, size, size), strict=True):
        alone = np.asarray(Image.fromarray(image).resize((size, size), FILTER))
        # Which axis Pillow takes first depends on the sizes, and each rounds.
        assert np.abs(result.astype(int) - alone).max() <= 2


@given(st.integers(1, 2000), st.integers(1, 2000), st.integers(8, 512), st.sampled_from(["crop", "pad", "stretch"]))
def test_the_kept_part_is_inside_the_image_and_fits_the_store(width: int, height: int, size: int, resize: Any) -> None:
    (left, top, right, bottom), (new_width, new_height) = placement(width, height, size, resize)
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height
    assert 1 <= new_width <= size
    assert 1 <= new_height <= size


def test_crop_keeps_the_middle_and_pad_keeps_everything() -> None:
    wide = np.zeros((1, 1, 10, 30), np.uint8)
    wide[..., 10:20] = 255  # white in the middle third
    assert resize_batch(wide, 20, "crop").min() > 200
    padded = resize_batch(wide, 30, "pad")
    assert padded[0, 0, :10].max() == padded[0, 0, 20:].max() == 0
    assert np.array_equal(padded[0, 0, 10:20], wide[0, 0])


def test_images_of_the_right_size_are_left_alone() -> None:
    images = np.zeros((2, 3, 32, 32), np.uint8)
    assert resize_batch(images, 32) is images


@pytest.mark.parametrize("resize", ["crop", "pad", "stretch"])
def test_no_images_become_no_images(resize: Any) -> None:
    assert resize_batch(np.zeros((0, 3, 28, 28), np.uint8), 32, resize).shape == (0, 3, 32, 32)
