"""RandAugment: a few operations of one strength, chosen anew for every image.

Cubuk, Zoph, Shlens, Le. RandAugment: Practical Automated Data Augmentation with a Reduced Search Space. NeurIPS 2020.
"""

from typing import Literal

import torch
from torch import Tensor

from repflow.augment.operation import Fractions, Numbers, Operation, Shape
from repflow.augment.strength import CHANGES, Names, Reach, apply_by_name
from repflow.randomness.draws import Draw
from repflow.schema import Count, Fraction, parameters


@parameters
class RandAugment(Operation):
    """Some operations in a row, each drawn for each image from the same list.

    Translations go to 0.3 of the side (the paper: 10 of 32 pixels).

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
    choices: Names = tuple(CHANGES)
    fill: Fraction = 0.5

    def numbers(self, count: int, shape: Shape, draw: Draw) -> Numbers:
        """Draw an operation, its strength and its direction for each image and round."""
        choice, strength, direction = [], [], []
        for _ in range(self.rounds):
            choice.append(draw.integers(count, high=len(self.choices)))
            strength.append(draw.uniform(count, low=self.strength[0], high=self.strength[1]))
            direction.append(2.0 * draw.integers(count, high=2) - 1)
        return torch.stack(choice, dim=1), torch.stack(strength, dim=1), torch.stack(direction, dim=1)

    def change(self, images: Tensor, *numbers: Tensor) -> Tensor:
        """One round after the other."""
        reach = Reach(fill=self.fill)
        for choice, strength, direction in zip(*(each.unbind(1) for each in numbers), strict=True):
            images = apply_by_name(images, self.choices, choice, strength, direction, reach)
        return images
