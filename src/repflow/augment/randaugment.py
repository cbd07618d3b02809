"""RandAugment: a few operations of one strength, chosen anew for every image.

Cubuk, Zoph, Shlens, Le. RandAugment: Practical Automated Data Augmentation with a Reduced Search Space. NeurIPS 2020.
"""

from collections.abc import Callable
from functools import partial
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from repflow.augment import colour, geometry, texture
from repflow.augment.operation import Fractions, Operation, by_choice
from repflow.draw import Draw
from repflow.schema import Count, Fraction, parameters

Name = Literal[
    "identity",
    "autocontrast",
    "brightness",
    "contrast",
    "equalise",
    "posterise",
    "rotate",
    "saturation",
    "sharpness",
    "shear_x",
    "shear_y",
    "solarise",
    "translate_x",
    "translate_y",
]

Strong = Callable[[Tensor, Tensor, Tensor, float], Tensor]
"""Images, a strength in [0, 1] and a direction of -1 or 1 for each, and the value of what comes in from outside."""


def _shift(images: Tensor, strength: Tensor, direction: Tensor) -> Tensor:
    return direction * strength * 0.3 * images.shape[3]


def _shear_x(images: Tensor, strength: Tensor, direction: Tensor, fill: float) -> Tensor:
    slope = torch.rad2deg(torch.atan(0.3 * strength)) * direction
    return geometry.shear(images, slope, torch.zeros_like(slope), fill)


def _shear_y(images: Tensor, strength: Tensor, direction: Tensor, fill: float) -> Tensor:
    slope = torch.rad2deg(torch.atan(0.3 * strength)) * direction
    return geometry.shear(images, torch.zeros_like(slope), slope, fill)


def _factor(strength: Tensor, direction: Tensor) -> Tensor:
    return 1 + 0.9 * strength * direction


# The ranges of the paper's code at full strength: 30 degrees, slopes of 0.3, factors 0.1 to 1.9, 4 of 8 bits.
# Translation goes to 0.3 of the side (the paper: 10 of 32 pixels), and shears are about the image's centre.
CHANGES: dict[Name, Strong] = {
    "identity": lambda images, s, d, fill: images,
    "autocontrast": lambda images, s, d, fill: colour.autocontrast(images),
    "brightness": lambda images, s, d, fill: colour.brightness(images, _factor(s, d)),
    "contrast": lambda images, s, d, fill: colour.contrast(images, _factor(s, d)),
    "equalise": lambda images, s, d, fill: colour.equalise(images),
    "posterise": lambda images, s, d, fill: colour.posterise(images, 8 - (4 * s).round()),
    "rotate": lambda images, s, d, fill: geometry.rotate(images, 30 * s * d, fill),
    "saturation": lambda images, s, d, fill: colour.saturation(images, _factor(s, d)),
    "sharpness": lambda images, s, d, fill: texture.sharpness(images, _factor(s, d)),
    "shear_x": _shear_x,
    "shear_y": _shear_y,
    "solarise": lambda images, s, d, fill: colour.solarise(images, 1 - s),
    "translate_x": lambda images, s, d, fill: geometry.translate(
        images, _shift(images, s, d), torch.zeros_like(s), fill
    ),
    "translate_y": lambda images, s, d, fill: geometry.translate(
        images, torch.zeros_like(s), _shift(images, s, d), fill
    ),
}


@parameters
class RandAugment(Operation):
    """Some operations in a row, each drawn for each image from the same list.

    Attributes:
        rounds: operations in a row.
        strength: range of the strength, drawn for each image and round; 1 is the most that the paper's code allows.
            The paper's magnitude M of 30 is [M / 30, M / 30]; FixMatch draws it: [0, 1].
        choices: operations to draw from; the default is the paper's list.
        fill: the value of what comes in from outside.
    """

    op: Literal["randaugment"] = "randaugment"
    rounds: Count = 2
    strength: Fractions = (0.3, 0.3)
    choices: Annotated[tuple[Name, ...], Field(min_length=1)] = tuple(CHANGES)
    fill: Fraction = 0.5

    def apply(self, images: Tensor, draw: Draw) -> Tensor:
        """Draw `rounds` operations for each image."""
        for _ in range(self.rounds):
            images = self._once(images, draw)
        return images

    def _once(self, images: Tensor, draw: Draw) -> Tensor:
        count = len(images)
        choice = draw.integers(count, high=len(self.choices))
        strength = draw.uniform(count, low=self.strength[0], high=self.strength[1])
        direction = 2.0 * draw.integers(count, high=2) - 1

        changes = [partial(self._change, CHANGES[name]) for name in self.choices]
        numbers = torch.stack([strength, direction], dim=1)
        return by_choice(images, choice, [(change, numbers) for change in changes])

    def _change(self, change: Strong, images: Tensor, numbers: Tensor) -> Tensor:
        return change(images, numbers[:, 0], numbers[:, 1], self.fill)
