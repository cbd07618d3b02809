"""Boxes of random area and shape."""

import math

from torch import Tensor

from repflow.hardware.portable_math import square_root
from repflow.randomness.draws import Draw

TRIES = 10
"""Boxes that are drawn for each image; the first that fits is taken."""


def draw_boxes(
    count: int, pixels: int, scale: tuple[float, float], ratio: tuple[float, float], draw: Draw
) -> tuple[Tensor, Tensor]:
    """Draw the sides of boxes.

    Args:
        count: images.
        pixels: of an image.
        scale: range of a box's share of them.
        ratio: range of the first side by the second, drawn evenly on a logarithmic scale.
        draw: what to draw from.

    Returns:
        the first and the second side, whole numbers [count, TRIES].
    """
    area = pixels * draw.uniform(count, TRIES, low=scale[0], high=scale[1])
    shape = draw.uniform(count, TRIES, low=math.log(ratio[0]), high=math.log(ratio[1])).exp()
    return square_root(area * shape).round(), square_root(area / shape).round()


def first_that_fits(fits: Tensor, *sides: Tensor) -> list[Tensor]:
    """Of several tries [B, tries] the first that `fits`, or the very first where none does: [B] of each of `sides`."""
    first = fits.int().argmax(dim=1, keepdim=True)
    return [side.gather(1, first)[:, 0] for side in sides]


def place_boxes(height: Tensor, width: Tensor, size: tuple[int, int], draw: Draw) -> tuple[Tensor, Tensor]:
    """Top and left of boxes [B] that lie evenly anywhere in images of `size`."""
    place = draw.uniform(len(height), 2)
    top, left = place[:, 0] * (size[0] - height + 1), place[:, 1] * (size[1] - width + 1)
    return top.floor(), left.floor()
