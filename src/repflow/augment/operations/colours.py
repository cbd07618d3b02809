"""Operations that change values pixel by pixel."""

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from repflow.augment import colour
from repflow.augment.operation import Bits, Factors, Fractions, Numbers, Operation, Shape
from repflow.randomness.draws import Draw
from repflow.schema import Fraction, NonNegative, parameters

HalfTurn = Annotated[float, Field(ge=0, le=0.5)]


@parameters
class Brightness(Operation):
    """Brighter or darker.

    Attributes:
        factors: range of the factor; 0 gives black, 1 the image.
    """

    op: Literal["brightness"] = "brightness"
    factors: Factors = (0.6, 1.4)

    def numbers(self, count: int, shape: Shape, draw: Draw) -> Numbers:
        """Draw a factor for each image."""
        return (draw.uniform(count, low=self.factors[0], high=self.factors[1]),)

    def change(self, images: Tensor, *numbers: Tensor) -> Tensor:
        """Multiply."""
        return colour.brightness(images, *numbers)


@parameters
class Contrast(Operation):
    """Nearer to the image's mean grey, or further from it.

    Attributes:
        factors: range of the factor; 0 gives that grey, 1 the image.
    """

    op: Literal["contrast"] = "contrast"
    factors: Factors = (0.6, 1.4)

    def numbers(self, count: int, shape: Shape, draw: Draw) -> Numbers:
        """Draw a factor for each image."""
        return (draw.uniform(count, low=self.factors[0], high=self.factors[1]),)

    def change(self, images: Tensor, *numbers: Tensor) -> Tensor:
        """Move away from the mean."""
        return colour.contrast(images, *numbers)


@parameters
class Saturation(Operation):
    """Paler or more colourful.

    Attributes:
        factors: range of the factor; 0 gives the grey image, 1 the image.
    """

    op: Literal["saturation"] = "saturation"
    factors: Factors = (0.6, 1.4)

    def numbers(self, count: int, shape: Shape, draw: Draw) -> Numbers:
        """Draw a factor for each image."""
        return (draw.uniform(count, low=self.factors[0], high=self.factors[1]),)

    def change(self, images: Tensor, *numbers: Tensor) -> Tensor:
        """Move away from grey."""
        return colour.saturation(images, *numbers)


@parameters
class Hue(Operation):
    """Other colours.

    Attributes:
        turn: the hue turns by up to this share of the colour circle, each way.
    """

    op: Literal["hue"] = "hue"
    turn: HalfTurn = 0.1

    def numbers(self, count: int, shape: Shape, draw: Draw) -> Numbers:
        """Draw a turn for each image."""
        return (draw.uniform(count, low=-self.turn, high=self.turn),)

    def change(self, images: Tensor, *numbers: Tensor) -> Tensor:
        """Rotate the hue."""
        return colour.hue(images, *numbers)


@parameters
class ColourJitter(Operation):
    """Brightness, contrast, saturation and hue changed, in an order drawn for each image.

    Attributes:
        brightness: factors are drawn from max(0, 1 − brightness) to 1 + brightness.
        contrast: likewise.
        saturation: likewise.
        hue: the hue turns by up to this share of the colour circle, each way.
    """

    op: Literal["colour_jitter"] = "colour_jitter"
    brightness: NonNegative = 0.0
    contrast: NonNegative = 0.0
    saturation: NonNegative = 0.0
    hue: HalfTurn = 0.0

    def numbers(self, count: int, shape: Shape, draw: Draw) -> Numbers:
        """Draw the factors, the turn and their order for each image."""
        strengths = (self.brightness, self.contrast, self.saturation)
        used = [which for which, strength in enumerate(strengths) if strength]
        factors = torch.ones(count, 3)
        for which in used:
            factors[:, which] = draw.uniform(count, low=max(0.0, 1 - strengths[which]), high=1 + strengths[which])
        turns = draw.uniform(count, low=-self.hue, high=self.hue) if self.hue else torch.zeros(count)
        # Changes come in the order of numbers drawn for them; the hue's is the last where there is one.
        keys = draw.uniform(count, len(used) + bool(self.hue))
        order = torch.tensor(used, dtype=torch.int64)[keys[:, : len(used)].argsort(dim=1)]
        place = (keys[:, : len(used)] < keys[:, -1:]).sum(dim=1)
        return factors, turns, order, place

    def change(self, images: Tensor, *numbers: Tensor) -> Tensor:
        """Apply the changes in their order."""
        return colour.jitter(images, *numbers)


@parameters
class Greyscale(Operation):
    """The colours taken away."""

    op: Literal["greyscale"] = "greyscale"
    probability: Fraction = 0.2

    def change(self, images: Tensor, *numbers: Tensor) -> Tensor:
        """Make every image grey."""
        return colour.greyscale(images)


@parameters
class Invert(Operation):
    """The negative."""

    op: Literal["invert"] = "invert"
    probability: Fraction = 0.5

    def change(self, images: Tensor, *numbers: Tensor) -> Tensor:
        """Invert every image."""
        return colour.invert(images)


@parameters
class Solarise(Operation):
    """The negative of the brighter pixels.

    Attributes:
        threshold: from where pixels are inverted, a range.
    """

    op: Literal["solarise"] = "solarise"
    threshold: Fractions = (0.5, 0.5)

    def numbers(self, count: int, shape: Shape, draw: Draw) -> Numbers:
        """Draw a threshold for each image."""
        return (draw.uniform(count, low=self.threshold[0], high=self.threshold[1]),)

    def change(self, images: Tensor, *numbers: Tensor) -> Tensor:
        """Invert what reaches the threshold."""
        return colour.solarise(images, *numbers)


@parameters
class Posterise(Operation):
    """Fewer levels of every channel.

    Attributes:
        bits: that are kept, of 8; lowest and highest.
    """

    op: Literal["posterise"] = "posterise"
    bits: Bits = (4, 8)

    def numbers(self, count: int, shape: Shape, draw: Draw) -> Numbers:
        """Draw a number of bits for each image."""
        return (draw.integers(count, low=self.bits[0], high=self.bits[1] + 1),)

    def change(self, images: Tensor, *numbers: Tensor) -> Tensor:
        """Drop the lower bits."""
        return colour.posterise(images, *numbers)


@parameters
class Equalise(Operation):
    """A flat histogram."""

    op: Literal["equalise"] = "equalise"

    def change(self, images: Tensor, *numbers: Tensor) -> Tensor:
        """Equalise every image."""
        return colour.equalise(images)


@parameters
class Autocontrast(Operation):
    """The whole range of values used."""

    op: Literal["autocontrast"] = "autocontrast"

    def change(self, images: Tensor, *numbers: Tensor) -> Tensor:
        """Stretch every image."""
        return colour.autocontrast(images)
