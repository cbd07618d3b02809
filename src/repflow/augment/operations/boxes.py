"""Boxes of random area and aspect ratio."""

import math

from torch import Tensor

from repflow.hardware.portable_math import square_root
from repflow.randomness.draws import Draw

TRIES = 10
"""Boxes drawn per image; the first that fits is used."""


def draw_boxes(
    count: int, pixels: int, scale: tuple[float, float], ratio: tuple[float, float], draw: Draw
) -> tuple[Tensor, Tensor]:
    """Draw the side lengths of boxes.

    Args:
        count: number of images.
        pixels: number of pixels of an image.
        scale: range of a box's fraction of the area.
        ratio: range of first side / second side, drawn log-uniformly.
        draw: random numbers.

    Returns:
        the first and the second side, integers [count, TRIES].
    """
    area = pixels * draw.uniform(count, TRIES, low=scale[0], high=scale[1])
    shape = draw.uniform(count, TRIES, low=math.log(ratio[0]), high=math.log(ratio[1])).exp()
    return square_root(area * shape).round(), square_root(area / shape).round()


def first_that_fits(fits: Tensor, *sides: Tensor) -> list[Tensor]:
    """The first of several candidates [B, tries] that `fits`, or else the first of all: [B] of each of `sides`."""
    first = fits.int().argmax(dim=1, keepdim=True)
    return [side.gather(1, first)[:, 0] for side in sides]


def place_boxes(height: Tensor, width: Tensor, size: tuple[int, int], draw: Draw) -> tuple[Tensor, Tensor]:
    """Uniform positions, top and left, of boxes [B] within images of `size`."""
    place = draw.uniform(len(height), 2)
    top, left = place[:, 0] * (size[0] - height + 1), place[:, 1] * (size[1] - width + 1)
    return top.floor(), left.floor()
