"""RandAugment: a few random operations of a given strength per image.

Cubuk, Zoph, Shlens, Le. RandAugment: Practical Automated Data Augmentation with a Reduced Search Space. NeurIPS 2020.
"""

from typing import Literal

import torch
from torch import Tensor

from repflow.augment.masked_choice import apply_by_name_masked
from repflow.augment.operation import Fractions, Operation, Params, Shape
from repflow.augment.strength import TRANSFORMS, ApplyByName, Limits, Names, apply_by_name
from repflow.randomness.draws import Draw
from repflow.schema import Count, Fraction, parameters


@parameters
class RandAugment(Operation):
    """A sequence of operations, each drawn per image from the same list.

    Translations go to 0.3 of the side (the paper: 10 of 32 pixels).

    Attributes:
        rounds: number of operations.
        strength: range of the strength, drawn for each image and round; 1 is the maximum of the paper's code.
            The paper's magnitude M of 30 is [M / 30, M / 30]; FixMatch draws it: [0, 1].
        choices: operations to draw from; the default is the paper's list.
        fill: value of pixels from outside the image.
    """

    op: Literal["randaugment"] = "randaugment"
    rounds: Count = 2
    strength: Fractions = (0.3, 0.3)
    choices: Names = tuple(TRANSFORMS)
    fill: Fraction = 0.5

    def make_params(self, count: int, shape: Shape, draw: Draw) -> Params:
        """Draw an operation, its strength and its direction for each image and round."""
        choice, strength, direction = [], [], []
        for _ in range(self.rounds):
            choice.append(draw.integers(count, high=len(self.choices)))
            strength.append(draw.uniform(count, low=self.strength[0], high=self.strength[1]))
            direction.append(2.0 * draw.integers(count, high=2) - 1)
        return torch.stack(choice, dim=1), torch.stack(strength, dim=1), torch.stack(direction, dim=1)

    def transform(self, images: Tensor, *params: Tensor) -> Tensor:
        """Apply one round after the other."""
        return self._in_rounds(images, params, apply_by_name)

    def transform_masked(self, images: Tensor, *params: Tensor) -> Tensor:
        """Apply one round after the other."""
        return self._in_rounds(images, params, apply_by_name_masked)

    def _in_rounds(self, images: Tensor, params: Params, apply: ApplyByName) -> Tensor:
        limits = Limits(fill=self.fill)
        for choice, strength, direction in zip(*(each.unbind(1) for each in params), strict=True):
            images = apply(images, self.choices, choice, strength, direction, limits)
        return images
