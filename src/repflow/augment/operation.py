"""What every operation of a policy is: parameters, what chance decides for each image, and a function of both."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, Field
from torch import Tensor

from repflow.augment.rows import beside
from repflow.randomness.draws import Draw
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

Shape = tuple[int, int, int]
"""Channels, height and width of an image."""
Numbers = tuple[Tensor, ...]
"""What an operation draws for a batch: tensors [B, ...] on the CPU, where they cost no wait for a device."""


@dataclass(frozen=True)
class Decisions:
    """What chance decided about one operation on a batch.

    Attributes:
        chosen: bool [B], which images are changed; None where all are.
        numbers: of each image, also of those that are not changed.
    """

    chosen: Tensor | None
    numbers: Numbers

    def subset(self, rows: slice) -> "Decisions":
        """Those about some images."""
        chosen = None if self.chosen is None else self.chosen[rows]
        return Decisions(chosen, tuple(each[rows] for each in self.numbers))


@parameters
class Operation:
    """One step of a policy.

    Subclasses name themselves in a field `op`, draw in `numbers` what is left to chance, and say in `change` what is
    done with it. One whose images are of another size than before says so in `shape`.

    Attributes:
        probability: of being applied to an image.
    """

    probability: Fraction = 1.0

    def __call__(self, images: Tensor, draw: Draw) -> Tensor:
        """The images, those that chance picks changed: [B, C, H, W] to the same shape."""
        shape = (images.shape[1], images.shape[2], images.shape[3])
        return self.apply(images.clone(), self.decide(len(images), shape, draw))

    def decide(self, count: int, shape: Shape, draw: Draw) -> Decisions:
        """Let chance decide about `count` images of one shape."""
        draw = draw.to("cpu")
        chosen = None if self.probability == 1 else draw.bernoulli(count, self.probability)
        return Decisions(chosen, self.numbers(count, shape, draw))

    def apply(self, images: Tensor, decisions: Decisions) -> Tensor:
        """Change the images that were chosen, and those alone: in place, unless all are."""
        if decisions.chosen is None:
            return self.change(images, *decisions.numbers)
        rows = decisions.chosen.nonzero()[:, 0]
        if not len(rows):
            return images
        numbers = [each[rows] for each in decisions.numbers]
        places = beside(rows, images)
        return images.index_copy_(0, places, self.change(images.index_select(0, places), *numbers))

    def shape(self, before: Shape) -> Shape:
        """The shape of its images, given the shape of those that it gets."""
        return before

    def numbers(self, count: int, shape: Shape, draw: Draw) -> Numbers:
        """What is drawn for each of `count` images of one shape."""
        return ()

    def change(self, images: Tensor, *numbers: Tensor) -> Tensor:
        """Change every image by its numbers; the images that are given stay as they are."""
        raise NotImplementedError
