"""The base class of all operations: settings, random parameters per image, and the transform itself."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, Field
from torch import Tensor

from repflow.augment.per_sample import is_masked, transform_masked, transform_rows_
from repflow.randomness.draws import Draw
from repflow.schema import Fraction, NonNegative, Positive, parameters


def _ascending(pair: tuple[float, float]) -> tuple[float, float]:
    if pair[0] > pair[1]:
        raise ValueError(f"the first number must not exceed the second, {pair[0]} does {pair[1]}")
    return pair


_Bit = Annotated[int, Field(ge=1, le=8)]

Factors = Annotated[tuple[NonNegative, NonNegative], AfterValidator(_ascending)]
"""Range of a factor, at least 0, drawn uniformly."""
Positives = Annotated[tuple[Positive, Positive], AfterValidator(_ascending)]
"""A range of numbers above 0."""
Bits = Annotated[tuple[_Bit, _Bit], AfterValidator(_ascending)]
"""A range of bits from 1 to 8."""
Fractions = Annotated[tuple[Fraction, Fraction], AfterValidator(_ascending)]
"""A range of numbers from 0 to 1."""

Shape = tuple[int, int, int]
"""Channels, height and width of an image."""
Params = tuple[Tensor, ...]
"""Random parameters of a batch: tensors [B, ...], on the device of the images in the masked form, else on the CPU."""


@dataclass(frozen=True)
class DrawnParams:
    """The random parameters of one operation for a batch.

    Attributes:
        chosen: bool [B], the images that are transformed; None for all.
        params: for every image, also for those that are not transformed.
    """

    chosen: Tensor | None
    params: Params

    def subset(self, rows: slice) -> "DrawnParams":
        """The parameters of a subset of the images."""
        chosen = None if self.chosen is None else self.chosen[rows]
        return DrawnParams(chosen, tuple(each[rows] for each in self.params))


@parameters
class Operation:
    """One step of a policy.

    Subclasses have a field `op` with their name, draw random parameters in `make_params` and apply them in
    `transform`, as in torchvision's v2 transforms. One that changes the size of images also overrides `shape`, and one
    whose `transform` asks the host about values also overrides `transform_masked`.

    Attributes:
        probability: that the operation is applied to an image.
    """

    probability: Fraction = 1.0

    def __call__(self, images: Tensor, draw: Draw) -> Tensor:
        """Apply the operation to randomly chosen images of a batch: [B, C, H, W] to the same shape."""
        shape = (images.shape[1], images.shape[2], images.shape[3])
        if is_masked(images):
            return self.apply_masked(images.clone(), self.draw_params(len(images), shape, draw.to(images.device)))
        return self.apply(images.clone(), self.draw_params(len(images), shape, draw.to("cpu")))

    def draw_params(self, count: int, shape: Shape, draw: Draw) -> DrawnParams:
        """Draw the random parameters for `count` images of one shape, on the device of `draw`."""
        chosen = None if self.probability == 1 else draw.bernoulli(count, self.probability)
        return DrawnParams(chosen, self.make_params(count, shape, draw))

    def apply(self, images: Tensor, drawn: DrawnParams) -> Tensor:
        """Transform the chosen images, in place unless all are chosen."""
        if drawn.chosen is None:
            return self.transform(images, *drawn.params)
        return transform_rows_(images, drawn.chosen, self.transform, *drawn.params)

    def apply_masked(self, images: Tensor, drawn: DrawnParams) -> Tensor:
        """The same as `apply` in the masked form: the images stay as they are."""
        if drawn.chosen is None:
            return self.transform_masked(images, *drawn.params)
        return transform_masked(images, drawn.chosen, self.transform_masked, *drawn.params)

    def shape(self, before: Shape) -> Shape:
        """The shape of the transformed images, given that of the input."""
        return before

    def make_params(self, count: int, shape: Shape, draw: Draw) -> Params:
        """Draw the random parameters for `count` images of one shape."""
        return ()

    def transform(self, images: Tensor, *params: Tensor) -> Tensor:
        """Transform every image by its parameters; the input is not modified."""
        raise NotImplementedError

    def transform_masked(self, images: Tensor, *params: Tensor) -> Tensor:
        """The same as `transform`, with parameters on the device of the images and nothing that depends on values."""
        return self.transform(images, *params)
