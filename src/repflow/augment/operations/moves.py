"""Operations that move pixels: crops, flips and maps of the plane."""

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from repflow.augment import geometry
from repflow.augment.operation import Fractions, Numbers, Operation, Positives, Shape
from repflow.augment.operations.boxes import draw_boxes, first_that_fits, place_boxes
from repflow.errors import ParameterError
from repflow.randomness.draws import Draw
from repflow.schema import Count, Fraction, NonNegative, parameters


@parameters
class RandomResizedCrop(Operation):
    """A box of random area and shape, stretched (Szegedy et al., CVPR 2015).

    Attributes:
        scale: the box's share of the area.
        ratio: width by height, drawn evenly on a logarithmic scale.
        size: height and width of the result; those of the image where it is None.
    """

    op: Literal["random_resized_crop"] = "random_resized_crop"
    scale: Fractions = (0.08, 1.0)
    ratio: Positives = (3 / 4, 4 / 3)
    size: Count | None = None

    def __post_init__(self) -> None:
        """Every image of a batch must have the same size."""
        if self.size is not None and self.probability != 1:
            raise ValueError("a crop with a size of its own must have the probability 1")

    def shape(self, before: Shape) -> Shape:
        """Channels, and `size` where there is one."""
        return before if self.size is None else (before[0], self.size, self.size)

    def numbers(self, count: int, shape: Shape, draw: Draw) -> Numbers:
        """Draw ten boxes for each image and take the first that fits, else the largest that the ratios allow."""
        _, rows, columns = shape
        widths, heights = draw_boxes(count, rows * columns, self.scale, self.ratio, draw)
        largest = torch.ones_like(widths[:, :1])
        widths = torch.cat([widths, largest * min(columns, round(rows * self.ratio[1]))], dim=1)
        heights = torch.cat([heights, largest * min(rows, round(columns / self.ratio[0]))], dim=1)
        fits = (widths >= 1) & (widths <= columns) & (heights >= 1) & (heights <= rows)
        height, width = first_that_fits(fits, heights, widths)
        return *place_boxes(height, width, (rows, columns), draw), height, width

    def change(self, images: Tensor, *numbers: Tensor) -> Tensor:
        """Cut and stretch."""
        top, left, height, width = numbers
        size = None if self.size is None else (self.size, self.size)
        return geometry.resized_crop(images, top, left, height, width, size)


@parameters
class PadAndCrop(Operation):
    """The image moved by up to `padding` pixels each way.

    Attributes:
        padding: pixels on every side.
        reflect: pad with the mirrored image rather than with zeros.
    """

    op: Literal["pad_and_crop"] = "pad_and_crop"
    padding: Count = 4
    reflect: bool = False

    def numbers(self, count: int, shape: Shape, draw: Draw) -> Numbers:
        """Draw a window for each image."""
        if self.reflect and self.padding >= min(shape[1:]):
            allowed = min(shape[1:]) - 1
            raise ParameterError(f"pad_and_crop.padding: {self.padding} pixels cannot be mirrored, at most {allowed}")
        return draw.integers(count, 2, high=2 * self.padding + 1).unbind(1)

    def change(self, images: Tensor, *numbers: Tensor) -> Tensor:
        """Cut the windows out."""
        down, right = numbers
        return geometry.shifted_crop(images, down, right, self.padding, self.reflect)


@parameters
class HorizontalFlip(Operation):
    """Left and right exchanged. For photographs: writing loses its meaning."""

    op: Literal["horizontal_flip"] = "horizontal_flip"
    probability: Fraction = 0.5

    def change(self, images: Tensor, *numbers: Tensor) -> Tensor:
        """Mirror every image."""
        return geometry.horizontal_flip(images)


@parameters
class VerticalFlip(Operation):
    """Top and bottom exchanged. For images from above or through a microscope."""

    op: Literal["vertical_flip"] = "vertical_flip"
    probability: Fraction = 0.5

    def change(self, images: Tensor, *numbers: Tensor) -> Tensor:
        """Mirror every image."""
        return geometry.vertical_flip(images)


@parameters
class Affine(Operation):
    """A random affine map about the centre.

    Attributes:
        degrees: of rotation, to both sides.
        translation: the largest, as a share of the side, each way.
        scale: range of the scale.
        shear: degrees along each axis, to both sides.
        fill: the value of what comes in from outside.
    """

    op: Literal["affine"] = "affine"
    degrees: NonNegative = 0.0
    translation: Fraction = 0.0
    scale: Positives = (1.0, 1.0)
    shear: Annotated[float, Field(ge=0, lt=90)] = 0.0
    fill: Fraction = 0.0

    def numbers(self, count: int, shape: Shape, draw: Draw) -> Numbers:
        """Draw a map for each image."""
        _, rows, columns = shape
        degrees = draw.uniform(count, low=-self.degrees, high=self.degrees)
        translation = draw.uniform(count, 2, low=-self.translation, high=self.translation)
        scale = draw.uniform(count, low=self.scale[0], high=self.scale[1])
        shear = draw.uniform(count, 2, low=-self.shear, high=self.shear)
        return degrees, translation * torch.tensor([columns, rows]), scale, shear

    def change(self, images: Tensor, *numbers: Tensor) -> Tensor:
        """Map every image."""
        degrees, translation, scale, shear = numbers
        return geometry.affine(images, degrees, translation, scale, shear, self.fill)


@parameters
class Rotation(Operation):
    """A random turn about the centre.

    Attributes:
        degrees: to both sides.
        fill: the value of what comes in from outside.
    """

    op: Literal["rotation"] = "rotation"
    degrees: NonNegative = 15.0
    fill: Fraction = 0.0

    def numbers(self, count: int, shape: Shape, draw: Draw) -> Numbers:
        """Draw an angle for each image."""
        return (draw.uniform(count, low=-self.degrees, high=self.degrees),)

    def change(self, images: Tensor, *numbers: Tensor) -> Tensor:
        """Rotate every image."""
        return geometry.rotate(images, numbers[0], self.fill)


@parameters
class Perspective(Operation):
    """The image as a plane seen from a random side.

    Attributes:
        distortion: how far each corner moves inwards at most, as a share of half the side.
        fill: the value of what comes in from outside.
    """

    op: Literal["perspective"] = "perspective"
    probability: Fraction = 0.5
    distortion: Annotated[float, Field(ge=0, lt=1)] = 0.5
    fill: Fraction = 0.0

    def numbers(self, count: int, shape: Shape, draw: Draw) -> Numbers:
        """Draw whole pixels by which the four corners of each image move."""
        _, rows, columns = shape
        if min(rows, columns) < 2:
            raise ParameterError(f"perspective: an image of {rows} x {columns} pixels has no four corners")
        reach = torch.tensor([int(self.distortion * (columns // 2)), int(self.distortion * (rows // 2))])
        inwards = (draw.uniform(count, 4, 2) * (reach + 1)).floor()
        right, down = columns - 1, rows - 1
        corners = torch.tensor([[0, 0], [right, 0], [right, down], [0, down]])
        return (corners + inwards * torch.tensor([[1, 1], [-1, 1], [-1, -1], [1, -1]]),)

    def change(self, images: Tensor, *numbers: Tensor) -> Tensor:
        """Move every image's corners."""
        return geometry.perspective(images, numbers[0], self.fill)
