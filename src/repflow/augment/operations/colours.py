"""Colour operations."""

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from repflow.augment import colour
from repflow.augment.operation import Bits, Factors, Fractions, Operation, Params, Shape
from repflow.augment.per_sample import transform_masked
from repflow.randomness.draws import Draw
from repflow.schema import Fraction, NonNegative, parameters

HalfTurn = Annotated[float, Field(ge=0, le=0.5)]


def _to_none(images: Tensor, *_: object) -> Tensor:
    return images


@parameters
class Brightness(Operation):
    """Brighter or darker.

    Attributes:
        factors: range of the factor; 0 gives black, 1 the image.
    """

    op: Literal["brightness"] = "brightness"
    factors: Factors = (0.6, 1.4)

    def make_params(self, count: int, shape: Shape, draw: Draw) -> Params:
        """Draw a factor for each image."""
        return (draw.uniform(count, low=self.factors[0], high=self.factors[1]),)

    def transform(self, images: Tensor, *params: Tensor) -> Tensor:
        """Multiply."""
        return colour.brightness(images, *params)


@parameters
class Contrast(Operation):
    """Lower or higher contrast.

    Attributes:
        factors: range of the factor; 0 gives the image's mean grey, 1 the image.
    """

    op: Literal["contrast"] = "contrast"
    factors: Factors = (0.6, 1.4)

    def make_params(self, count: int, shape: Shape, draw: Draw) -> Params:
        """Draw a factor for each image."""
        return (draw.uniform(count, low=self.factors[0], high=self.factors[1]),)

    def transform(self, images: Tensor, *params: Tensor) -> Tensor:
        """Blend with the mean grey."""
        return colour.contrast(images, *params)


@parameters
class Saturation(Operation):
    """Lower or higher saturation.

    Attributes:
        factors: range of the factor; 0 gives the grey image, 1 the image.
    """

    op: Literal["saturation"] = "saturation"
    factors: Factors = (0.6, 1.4)

    def make_params(self, count: int, shape: Shape, draw: Draw) -> Params:
        """Draw a factor for each image."""
        return (draw.uniform(count, low=self.factors[0], high=self.factors[1]),)

    def transform(self, images: Tensor, *params: Tensor) -> Tensor:
        """Blend with the grey image."""
        return colour.saturation(images, *params)


@parameters
class Hue(Operation):
    """A rotation of the hue.

    Attributes:
        turn: maximum rotation in either direction, as a fraction of the colour circle.
    """

    op: Literal["hue"] = "hue"
    turn: HalfTurn = 0.1

    def make_params(self, count: int, shape: Shape, draw: Draw) -> Params:
        """Draw a rotation for each image."""
        return (draw.uniform(count, low=-self.turn, high=self.turn),)

    def transform(self, images: Tensor, *params: Tensor) -> Tensor:
        """Rotate the hue."""
        return colour.hue(images, *params)


@parameters
class ColourJitter(Operation):
    """Random brightness, contrast, saturation and hue, in a random order per image.

    Attributes:
        brightness: factors are drawn from max(0, 1 − brightness) to 1 + brightness.
        contrast: likewise.
        saturation: likewise.
        hue: maximum rotation of the hue in either direction, as a fraction of the colour circle.
    """

    op: Literal["colour_jitter"] = "colour_jitter"
    brightness: NonNegative = 0.0
    contrast: NonNegative = 0.0
    saturation: NonNegative = 0.0
    hue: HalfTurn = 0.0

    def make_params(self, count: int, shape: Shape, draw: Draw) -> Params:
        """Draw the factors, the hue rotation and their order for each image."""
        strengths = (self.brightness, self.contrast, self.saturation)
        used = [which for which, strength in enumerate(strengths) if strength]
        factors = torch.ones(count, 3, device=draw.device)
        for which in used:
            factors[:, which] = draw.uniform(count, low=max(0.0, 1 - strengths[which]), high=1 + strengths[which])
        turns = draw.uniform(count, low=-self.hue, high=self.hue) if self.hue else torch.zeros_like(factors[:, 0])
        # The order is that of random sort keys; the last key belongs to the hue, if it is used.
        keys = draw.uniform(count, len(used) + bool(self.hue))
        sorted_keys = keys[:, : len(used)].argsort(dim=1)
        order = torch.zeros_like(sorted_keys)
        for key, which in enumerate(used):
            order += which * (sorted_keys == key)
        place = (keys[:, : len(used)] < keys[:, -1:]).sum(dim=1)
        return factors, turns, order, place

    def transform(self, images: Tensor, *params: Tensor) -> Tensor:
        """Apply the four in their order."""
        return colour.jitter(images, *params)

    def transform_masked(self, images: Tensor, *params: Tensor) -> Tensor:
        """Apply the four in their order; the hue of all images at each place where it may come."""
        return colour.jitter(images, *params, for_some=transform_masked if self.hue else _to_none)


@parameters
class Greyscale(Operation):
    """Conversion to grey."""

    op: Literal["greyscale"] = "greyscale"
    probability: Fraction = 0.2

    def transform(self, images: Tensor, *params: Tensor) -> Tensor:
        """Make every image grey."""
        return colour.greyscale(images)


@parameters
class Invert(Operation):
    """Inversion of all values."""

    op: Literal["invert"] = "invert"
    probability: Fraction = 0.5

    def transform(self, images: Tensor, *params: Tensor) -> Tensor:
        """Invert every image."""
        return colour.invert(images)


@parameters
class Solarise(Operation):
    """Inversion of bright pixels.

    Attributes:
        threshold: range of the value from which pixels are inverted.
    """

    op: Literal["solarise"] = "solarise"
    threshold: Fractions = (0.5, 0.5)

    def make_params(self, count: int, shape: Shape, draw: Draw) -> Params:
        """Draw a threshold for each image."""
        return (draw.uniform(count, low=self.threshold[0], high=self.threshold[1]),)

    def transform(self, images: Tensor, *params: Tensor) -> Tensor:
        """Invert pixels from the threshold on."""
        return colour.solarise(images, *params)


@parameters
class Posterise(Operation):
    """Fewer levels of every channel.

    Attributes:
        bits: range of the number of bits kept, of 8.
    """

    op: Literal["posterise"] = "posterise"
    bits: Bits = (4, 8)

    def make_params(self, count: int, shape: Shape, draw: Draw) -> Params:
        """Draw a number of bits for each image."""
        return (draw.integers(count, low=self.bits[0], high=self.bits[1] + 1),)

    def transform(self, images: Tensor, *params: Tensor) -> Tensor:
        """Drop the lower bits."""
        return colour.posterise(images, *params)


@parameters
class Equalise(Operation):
    """Histogram equalisation."""

    op: Literal["equalise"] = "equalise"

    def transform(self, images: Tensor, *params: Tensor) -> Tensor:
        """Equalise every image."""
        return colour.equalise(images)


@parameters
class Autocontrast(Operation):
    """Contrast stretched to the full range of values."""

    op: Literal["autocontrast"] = "autocontrast"

    def transform(self, images: Tensor, *params: Tensor) -> Tensor:
        """Stretch every image."""
        return colour.autocontrast(images)
