"""What every operation of a policy is: parameters that draw, for each image, the numbers of a function."""

from collections.abc import Callable, Sequence
from typing import Annotated

import torch
from pydantic import AfterValidator, Field
from torch import Tensor

from repflow.draw import Draw
from repflow.schema import Fraction, NonNegative, Positive, parameters


def _ascending(pair: tuple[float, float]) -> tuple[float, float]:
    if pair[0] > pair[1]:
        raise ValueError(f"the first number must not exceed the second, {pair[0]} does {pair[1]}")
    return pair


_Bit = Annotated[int, Field(ge=1, le=8)]

Factors = Annotated[tuple[NonNegative, NonNegative], AfterValidator(_ascending)]
"""The lowest and the highest factor that is drawn, evenly in between, from 0 upwards."""
Positives = Annotated[tuple[Positive, Positive], AfterValidator(_ascending)]
"""A range of numbers above 0."""
Bits = Annotated[tuple[_Bit, _Bit], AfterValidator(_ascending)]
"""A range of whole numbers of bits from 1 to 8."""
Fractions = Annotated[tuple[Fraction, Fraction], AfterValidator(_ascending)]
"""A range of numbers from 0 to 1."""


@parameters
class Operation:
    """One step of a policy. Subclasses name themselves in a field `op` and say in `apply` what they do.

    Attributes:
        probability: of being applied to an image.
    """

    probability: Fraction = 1.0

    def __call__(self, images: Tensor, draw: Draw) -> Tensor:
        """The images, those that chance picks changed: [B, C, H, W] to the same shape."""
        if self.probability == 1:
            return self.apply(images, draw)
        chosen = draw.chance(len(images), self.probability).nonzero()[:, 0]
        if not len(chosen):
            return images
        some = draw.among(chosen, len(images))
        return images.index_copy(0, chosen, self.apply(images.index_select(0, chosen), some))

    def apply(self, images: Tensor, draw: Draw) -> Tensor:
        """Change every image, each by numbers of its own."""
        raise NotImplementedError


Change = Callable[[Tensor, Tensor], Tensor]
"""Images [B, C, H, W] and the numbers of each [B, ...] to images."""


def by_choice(images: Tensor, choice: Tensor, changes: Sequence[tuple[Change, Tensor]]) -> Tensor:
    """Let every image undergo the change that was chosen for it, each change with those images alone.

    Args:
        images: [B, C, H, W].
        choice: position in `changes`, int64 [B].
        changes: functions, each with the numbers that it would use for all images [B, ...].
    """
    changed = torch.empty_like(images)
    for position, (change, numbers) in enumerate(changes):
        rows = (choice == position).nonzero()[:, 0]
        if len(rows):
            changed.index_copy_(0, rows, change(images.index_select(0, rows), numbers[rows]))
    return changed
