"""Resizing whole batches of images of one size, with the results of Pillow's own resizing."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image

Resize = Literal["crop", "pad", "stretch"]
"""How an image becomes square: centre crop, black borders, or a changed aspect ratio."""


@dataclass(frozen=True)
class ImageFormat:
    """The format of all images in a store.

    Attributes:
        size: width and height in pixels.
        channels: 3 (red, green, blue) or 1 (grey).
        resize: how an image that is not square becomes square.
    """

    size: int
    channels: int
    resize: Resize


FILTER = Image.Resampling.BICUBIC

Box = tuple[float, float, float, float]


def placement(width: int, height: int, size: int, resize: Resize) -> tuple[Box, tuple[int, int]]:
    """Which part of an image is kept, and its size after resizing.

    Returns:
        (left, top, right, bottom) of that part in pixels, and its (width, height) after resizing, both at most `size`.
    """
    if resize == "crop":
        side = min(width, height)
        left, top = (width - side) / 2, (height - side) / 2
        return (left, top, left + side, top + side), (size, size)
    whole = (0.0, 0.0, float(width), float(height))
    if resize == "stretch":
        return whole, (size, size)
    longer = max(width, height)
    return whole, (max(1, round(width * size / longer)), max(1, round(height * size / longer)))


def resize_batch(images: np.ndarray, size: int, resize: Resize = "stretch") -> np.ndarray:
    """Resize images to `size` x `size`.

    Args:
        images: uint8 [N, channels, height, width].
        size: width and height after resizing, in pixels.
        resize: how images become square.

    Returns:
        uint8 [N, channels, size, size]; the same array if the images already have that size.
    """
    count, channels, height, width = images.shape
    if (height, width) == (size, size):
        return images
    if not count:
        return np.zeros((0, channels, size, size), np.uint8)
    box, (new_width, new_height) = placement(width, height, size, resize)
    planes = images.reshape(-1, height, width)
    left, top = (size - new_width) // 2, (size - new_height) // 2
    resized = np.zeros((len(planes), size, size), np.uint8)
    step = max(1, 2**26 // (max(size, height) * max(size, width)))
    for first in range(0, len(planes), step):
        part = scale(planes[first : first + step], new_height, new_width, box)
        resized[first : first + step, top : top + new_height, left : left + new_width] = part
    return resized.reshape(count, channels, size, size)


def scale(planes: np.ndarray, height: int, width: int, box: Box | None = None) -> np.ndarray:
    """Resize uint8 [N, h, w] to [N, height, width].

    Pillow resizes along one axis after the other. All rows of all planes are stacked into one tall image, so that one
    call resizes one axis of the whole batch.
    """
    left, top, right, bottom = box or (0, 0, planes.shape[2], planes.shape[1])
    planes = _scale_rows(planes, width, left, right)
    planes = _scale_rows(planes.transpose(0, 2, 1), height, top, bottom)
    return planes.transpose(0, 2, 1)


def _scale_rows(planes: np.ndarray, width: int, left: float, right: float) -> np.ndarray:
    count, height, _ = planes.shape
    tall = Image.fromarray(np.ascontiguousarray(planes).reshape(count * height, -1))
    tall = tall.resize((width, count * height), FILTER, box=(left, 0, right, count * height))
    return np.asarray(tall).reshape(count, height, width)
