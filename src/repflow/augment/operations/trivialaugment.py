"""TrivialAugment: one random operation of random strength per image.

Müller, Hutter. TrivialAugment: Tuning-free Yet State-of-the-Art Data Augmentation. ICCV 2021.
"""

from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor

from repflow.augment.masked_choice import apply_by_name_masked
from repflow.augment.operation import Operation, Params, Shape
from repflow.augment.strength import TRANSFORMS, Limits, Names, apply_by_name
from repflow.randomness.draws import Draw
from repflow.schema import Fraction, NonNegative, parameters


@parameters
class TrivialAugment(Operation):
    """One operation, drawn for each image from a list; the defaults are the paper's wide ranges on 32x32 images.

    Attributes:
        degrees: maximum rotation.
        slope: maximum slope of the shears.
        translation: maximum, as a fraction of the side (the paper: 32 pixels).
        factor: maximum difference from 1 of the factors of brightness, contrast, saturation and sharpness.
        bits: minimum number of bits kept by posterise.
        choices: operations to draw from.
        fill: value of pixels from outside the image.
    """

    op: Literal["trivialaugment"] = "trivialaugment"
    degrees: NonNegative = 135.0
    slope: NonNegative = 0.99
    translation: Fraction = 1.0
    factor: Fraction = 0.99
    bits: Annotated[int, Field(ge=1, le=8)] = 2
    choices: Names = tuple(TRANSFORMS)
    fill: Fraction = 0.5

    def make_params(self, count: int, shape: Shape, draw: Draw) -> Params:
        """Draw an operation, its strength and its direction for each image."""
        choice = draw.integers(count, high=len(self.choices))
        return choice, draw.uniform(count), 2.0 * draw.integers(count, high=2) - 1

    def transform(self, images: Tensor, *params: Tensor) -> Tensor:
        """Apply it."""
        choice, strength, direction = params
        return apply_by_name(images, self.choices, choice, strength, direction, self._limits)

    def transform_masked(self, images: Tensor, *params: Tensor) -> Tensor:
        """Apply it."""
        choice, strength, direction = params
        return apply_by_name_masked(images, self.choices, choice, strength, direction, self._limits)

    @property
    def _limits(self) -> Limits:
        return Limits(self.degrees, self.slope, self.translation, self.factor, (8, self.bits), self.fill)
