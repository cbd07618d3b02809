"""TrivialAugment: one operation of any strength, chosen anew for every image.

Müller, Hutter. TrivialAugment: Tuning-free Yet State-of-the-Art Data Augmentation. ICCV 2021.
"""

from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor

from repflow.augment.operation import Numbers, Operation, Shape
from repflow.augment.strength import CHANGES, Names, Reach, apply_by_name
from repflow.randomness.draws import Draw
from repflow.schema import Fraction, NonNegative, parameters


@parameters
class TrivialAugment(Operation):
    """One operation, drawn for each image from a list; the defaults are the paper's wide ranges on 32x32 images.

    Attributes:
        degrees: of rotation at most.
        slope: of the shears at most.
        translation: at most, as a share of the side (the paper: 32 pixels).
        factor: by which brightness, contrast, saturation and sharpness leave 1 at most.
        bits: that posterising keeps at least.
        choices: operations to draw from.
        fill: the value of what comes in from outside.
    """

    op: Literal["trivialaugment"] = "trivialaugment"
    degrees: NonNegative = 135.0
    slope: NonNegative = 0.99
    translation: Fraction = 1.0
    factor: Fraction = 0.99
    bits: Annotated[int, Field(ge=1, le=8)] = 2
    choices: Names = tuple(CHANGES)
    fill: Fraction = 0.5

    def numbers(self, count: int, shape: Shape, draw: Draw) -> Numbers:
        """Draw an operation, its strength and its direction for each image."""
        choice = draw.integers(count, high=len(self.choices))
        return choice, draw.uniform(count), 2.0 * draw.integers(count, high=2) - 1

    def change(self, images: Tensor, *numbers: Tensor) -> Tensor:
        """Apply it."""
        choice, strength, direction = numbers
        reach = Reach(self.degrees, self.slope, self.translation, self.factor, (8, self.bits), self.fill)
        return apply_by_name(images, self.choices, choice, strength, direction, reach)
