"""Geometric operations: crops, flips, affine and perspective transforms."""

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from repflow.augment import geometry
from repflow.augment.operation import Fractions, Operation, Params, Positives, Shape
from repflow.augment.operations.boxes import draw_boxes, first_that_fits, place_boxes
from repflow.augment.per_sample import pair
from repflow.errors import ParameterError
from repflow.randomness.draws import Draw
from repflow.schema import Count, Fraction, NonNegative, parameters


@parameters
class RandomResizedCrop(Operation):
    """A crop of random area and aspect ratio, resized (Szegedy et al., CVPR 2015).

    Attributes:
        scale: range of the crop's fraction of the area.
        ratio: range of width / height, drawn log-uniformly.
        size: height and width of the result; None for those of the image.
        resolution: height and width of the result as a share of the image's, where there is no `size`. Smaller views
            cost less, so that a training sees more of them in the same time.
    """

    op: Literal["random_resized_crop"] = "random_resized_crop"
    scale: Fractions = (0.08, 1.0)
    ratio: Positives = (3 / 4, 4 / 3)
    size: Count | None = None
    resolution: Annotated[float, Field(gt=0, le=1)] = 1.0

    def __post_init__(self) -> None:
        """Every image of a batch must have the same size."""
        if (self.size is not None or self.resolution < 1) and self.probability != 1:
            raise ValueError("a crop with a size of its own must have the probability 1")

    def shape(self, before: Shape) -> Shape:
        """Channels, and the size of the result."""
        channels, height, width = before
        if self.size is not None:
            return channels, self.size, self.size
        return channels, self._reduced(height), self._reduced(width)

    def _reduced(self, side: int) -> int:
        return max(1, round(self.resolution * side))

    def make_params(self, count: int, shape: Shape, draw: Draw) -> Params:
        """Draw ten boxes for each image and take the first that fits, or else the largest that the ratios allow."""
        _, rows, columns = shape
        widths, heights = draw_boxes(count, rows * columns, self.scale, self.ratio, draw)
        largest = torch.ones_like(widths[:, :1])
        widths = torch.cat([widths, largest * min(columns, round(rows * self.ratio[1]))], dim=1)
        heights = torch.cat([heights, largest * min(rows, round(columns / self.ratio[0]))], dim=1)
        fits = (widths >= 1) & (widths <= columns) & (heights >= 1) & (heights <= rows)
        height, width = first_that_fits(fits, heights, widths)
        return *place_boxes(height, width, (rows, columns), draw), height, width

    def transform(self, images: Tensor, *params: Tensor) -> Tensor:
        """Crop and resize."""
        top, left, height, width = params
        _, *size = self.shape((images.shape[1], images.shape[2], images.shape[3]))
        return geometry.resized_crop(images, top, left, height, width, (size[0], size[1]))


@parameters
class PadAndCrop(Operation):
    """A random crop of the padded image: a translation by up to `padding` pixels.

    Attributes:
        padding: pixels on every side.
        reflect: reflection padding rather than zeros.
    """

    op: Literal["pad_and_crop"] = "pad_and_crop"
    padding: Count = 4
    reflect: bool = False

    def make_params(self, count: int, shape: Shape, draw: Draw) -> Params:
        """Draw a window for each image."""
        if self.reflect and self.padding >= min(shape[1:]):
            allowed = min(shape[1:]) - 1
            raise ParameterError(f"pad_and_crop.padding: {self.padding} pixels cannot be mirrored, at most {allowed}")
        return draw.integers(count, 2, high=2 * self.padding + 1).unbind(1)

    def transform(self, images: Tensor, *params: Tensor) -> Tensor:
        """Crop the windows."""
        down, right = params
        return geometry.shifted_crop(images, down, right, self.padding, self.reflect)


@parameters
class ChannelShift(Operation):
    """The colour channels moved against each other, each by itself (Noroozi & Favaro, ECCV 2016); grey images stay.

    Chromatic aberration tells a network where in an image a part of it was. After this it no longer does.

    Attributes:
        pixels: maximum shift in each direction.
    """

    op: Literal["channel_shift"] = "channel_shift"
    pixels: Count = 2

    def make_params(self, count: int, shape: Shape, draw: Draw) -> Params:
        """Draw a shift for each channel of each image."""
        return draw.integers(count, 2, shape[0], low=-self.pixels, high=self.pixels + 1).unbind(1)

    def transform(self, images: Tensor, *params: Tensor) -> Tensor:
        """Shift the channels."""
        down, right = params
        return images if images.shape[1] == 1 else geometry.shifted_channels(images, down, right, self.pixels)


@parameters
class HorizontalFlip(Operation):
    """A horizontal flip. For photographs; it changes the meaning of characters."""

    op: Literal["horizontal_flip"] = "horizontal_flip"
    probability: Fraction = 0.5

    def transform(self, images: Tensor, *params: Tensor) -> Tensor:
        """Flip every image."""
        return geometry.horizontal_flip(images)


@parameters
class VerticalFlip(Operation):
    """A vertical flip. For aerial and microscope images."""

    op: Literal["vertical_flip"] = "vertical_flip"
    probability: Fraction = 0.5

    def transform(self, images: Tensor, *params: Tensor) -> Tensor:
        """Flip every image."""
        return geometry.vertical_flip(images)


@parameters
class Affine(Operation):
    """A random affine transform about the centre.

    Attributes:
        degrees: maximum rotation in either direction.
        translation: maximum in each direction, as a fraction of the side.
        scale: range of the scale.
        shear: maximum angle in degrees along each axis, in either direction.
        fill: value of pixels from outside the image.
    """

    op: Literal["affine"] = "affine"
    degrees: NonNegative = 0.0
    translation: Fraction = 0.0
    scale: Positives = (1.0, 1.0)
    shear: Annotated[float, Field(ge=0, lt=90)] = 0.0
    fill: Fraction = 0.0

    def make_params(self, count: int, shape: Shape, draw: Draw) -> Params:
        """Draw an affine transform for each image."""
        _, rows, columns = shape
        degrees = draw.uniform(count, low=-self.degrees, high=self.degrees)
        translation = draw.uniform(count, 2, low=-self.translation, high=self.translation)
        scale = draw.uniform(count, low=self.scale[0], high=self.scale[1])
        shear = draw.uniform(count, 2, low=-self.shear, high=self.shear)
        return degrees, translation * pair(columns, rows, draw.device), scale, shear

    def transform(self, images: Tensor, *params: Tensor) -> Tensor:
        """Apply the affine transforms."""
        degrees, translation, scale, shear = params
        return geometry.affine(images, degrees, translation, scale, shear, self.fill)


@parameters
class Rotation(Operation):
    """A random rotation about the centre.

    Attributes:
        degrees: maximum angle in either direction.
        fill: value of pixels from outside the image.
    """

    op: Literal["rotation"] = "rotation"
    degrees: NonNegative = 15.0
    fill: Fraction = 0.0

    def make_params(self, count: int, shape: Shape, draw: Draw) -> Params:
        """Draw an angle for each image."""
        return (draw.uniform(count, low=-self.degrees, high=self.degrees),)

    def transform(self, images: Tensor, *params: Tensor) -> Tensor:
        """Rotate every image."""
        return geometry.rotate(images, params[0], self.fill)


@parameters
class Perspective(Operation):
    """A random perspective transform.

    Attributes:
        distortion: maximum inward movement of each corner, as a fraction of half the side.
        fill: value of pixels from outside the image.
    """

    op: Literal["perspective"] = "perspective"
    probability: Fraction = 0.5
    distortion: Annotated[float, Field(ge=0, lt=1)] = 0.5
    fill: Fraction = 0.0

    def make_params(self, count: int, shape: Shape, draw: Draw) -> Params:
        """Draw new positions of the four corners of each image, in whole pixels."""
        _, rows, columns = shape
        if min(rows, columns) < 2:
            raise ParameterError(f"perspective: an image of {rows} x {columns} pixels has no four corners")
        reach = pair(int(self.distortion * (columns // 2)), int(self.distortion * (rows // 2)), draw.device)
        inwards = (draw.uniform(count, 4, 2) * (reach + 1)).floor()
        far = geometry.far_corners(draw.device)
        return (far * pair(columns - 1, rows - 1, draw.device) + inwards * (1 - 2 * far),)

    def transform(self, images: Tensor, *params: Tensor) -> Tensor:
        """Apply the perspective transforms."""
        return geometry.perspective(images, params[0], self.fill)
