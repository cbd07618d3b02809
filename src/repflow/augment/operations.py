"""The operations that a policy can name, with their ranges. What they do to pixels stands in the modules beside."""

import math
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from repflow.augment import colour, geometry, texture
from repflow.augment.operation import Bits, Change, Factors, Fractions, Operation, Positives, by_choice
from repflow.draw import Draw
from repflow.errors import ParameterError
from repflow.schema import Count, Fraction, NonNegative, parameters

HalfTurn = Annotated[float, Field(ge=0, le=0.5)]


@parameters
class RandomResizedCrop(Operation):
    """A box of random area and shape, stretched to the image's size (Szegedy et al., CVPR 2015).

    Attributes:
        scale: the box's share of the area.
        ratio: width by height, drawn evenly on a logarithmic scale.
    """

    op: Literal["random_resized_crop"] = "random_resized_crop"
    scale: Fractions = (0.08, 1.0)
    ratio: Positives = (3 / 4, 4 / 3)

    def apply(self, images: Tensor, draw: Draw) -> Tensor:
        """Draw ten boxes for each image and take the first that fits, else the largest that the ratios allow."""
        count, (rows, columns) = len(images), images.shape[2:]
        area = rows * columns * draw.uniform(count, 10, low=self.scale[0], high=self.scale[1])
        ratio = draw.uniform(count, 10, low=math.log(self.ratio[0]), high=math.log(self.ratio[1])).exp()
        largest = torch.ones_like(area[:, :1])
        width = torch.cat([(area * ratio).sqrt().round(), largest * min(columns, round(rows * self.ratio[1]))], dim=1)
        height = torch.cat([(area / ratio).sqrt().round(), largest * min(rows, round(columns / self.ratio[0]))], dim=1)
        fits = (width >= 1) & (width <= columns) & (height >= 1) & (height <= rows)
        first = fits.int().argmax(dim=1, keepdim=True)
        width, height = width.gather(1, first)[:, 0], height.gather(1, first)[:, 0]
        place = draw.uniform(count, 2)
        top, left = place[:, 0] * (rows - height + 1), place[:, 1] * (columns - width + 1)
        return geometry.resized_crop(images, top.floor(), left.floor(), height, width)


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

    def apply(self, images: Tensor, draw: Draw) -> Tensor:
        """Draw a window for each image."""
        if self.reflect and self.padding >= min(images.shape[2:]):
            allowed = min(images.shape[2:]) - 1
            raise ParameterError(f"pad_and_crop.padding: {self.padding} pixels cannot be mirrored, at most {allowed}")
        start = draw.integers(len(images), 2, high=2 * self.padding + 1)
        return geometry.shifted_crop(images, start[:, 0], start[:, 1], self.padding, self.reflect)


@parameters
class HorizontalFlip(Operation):
    """Left and right exchanged. For photographs: writing loses its meaning."""

    op: Literal["horizontal_flip"] = "horizontal_flip"
    probability: Fraction = 0.5

    def apply(self, images: Tensor, draw: Draw) -> Tensor:
        """Mirror every image."""
        return geometry.horizontal_flip(images)


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

    def apply(self, images: Tensor, draw: Draw) -> Tensor:
        """Draw a map for each image."""
        count, (rows, columns) = len(images), images.shape[2:]
        degrees = draw.uniform(count, low=-self.degrees, high=self.degrees)
        translation = draw.uniform(count, 2, low=-self.translation, high=self.translation)
        translation = translation * torch.tensor([columns, rows], device=images.device)
        scale = draw.uniform(count, low=self.scale[0], high=self.scale[1])
        shear = draw.uniform(count, 2, low=-self.shear, high=self.shear)
        return geometry.affine(images, degrees, translation, scale, shear, self.fill)


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

    def apply(self, images: Tensor, draw: Draw) -> Tensor:
        """Draw the numbers and their order for each image."""
        count = len(images)
        changes: list[tuple[Change, Tensor]] = [
            (change, draw.uniform(count, low=max(0.0, 1 - strength), high=1 + strength))
            for change, strength in (
                (colour.brightness, self.brightness),
                (colour.contrast, self.contrast),
                (colour.saturation, self.saturation),
            )
            if strength
        ]
        if self.hue:
            changes.append((colour.hue, draw.uniform(count, low=-self.hue, high=self.hue)))
        order = draw.uniform(count, len(changes)).argsort(dim=1)
        for turn in range(len(changes)):
            images = by_choice(images, order[:, turn], changes)
        return images


@parameters
class Greyscale(Operation):
    """The colours taken away."""

    op: Literal["greyscale"] = "greyscale"
    probability: Fraction = 0.2

    def apply(self, images: Tensor, draw: Draw) -> Tensor:
        """Make every image grey."""
        return colour.greyscale(images)


@parameters
class Invert(Operation):
    """The negative."""

    op: Literal["invert"] = "invert"
    probability: Fraction = 0.5

    def apply(self, images: Tensor, draw: Draw) -> Tensor:
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

    def apply(self, images: Tensor, draw: Draw) -> Tensor:
        """Draw a threshold for each image."""
        return colour.solarise(images, draw.uniform(len(images), low=self.threshold[0], high=self.threshold[1]))


@parameters
class Posterise(Operation):
    """Fewer levels of every channel.

    Attributes:
        bits: that are kept, of 8; lowest and highest.
    """

    op: Literal["posterise"] = "posterise"
    bits: Bits = (4, 8)

    def apply(self, images: Tensor, draw: Draw) -> Tensor:
        """Draw a number of bits for each image."""
        return colour.posterise(images, draw.integers(len(images), low=self.bits[0], high=self.bits[1] + 1))


@parameters
class Equalise(Operation):
    """A flat histogram."""

    op: Literal["equalise"] = "equalise"

    def apply(self, images: Tensor, draw: Draw) -> Tensor:
        """Equalise every image."""
        return colour.equalise(images)


@parameters
class Autocontrast(Operation):
    """The whole range of values used."""

    op: Literal["autocontrast"] = "autocontrast"

    def apply(self, images: Tensor, draw: Draw) -> Tensor:
        """Stretch every image."""
        return colour.autocontrast(images)


@parameters
class Sharpness(Operation):
    """Sharper or smoother.

    Attributes:
        factors: range of the factor; 0 smooths, 1 leaves, 2 sharpens.
    """

    op: Literal["sharpness"] = "sharpness"
    factors: Factors = (0.1, 1.9)

    def apply(self, images: Tensor, draw: Draw) -> Tensor:
        """Draw a factor for each image."""
        return texture.sharpness(images, draw.uniform(len(images), low=self.factors[0], high=self.factors[1]))


@parameters
class GaussianBlur(Operation):
    """A Gaussian blur.

    Attributes:
        size: of the kernel as a share of the side; SimCLR takes a tenth.
        sigma: range of the standard deviation in pixels.
    """

    op: Literal["gaussian_blur"] = "gaussian_blur"
    probability: Fraction = 0.5
    size: Fraction = 0.1
    sigma: Positives = (0.1, 2.0)

    def apply(self, images: Tensor, draw: Draw) -> Tensor:
        """Draw a standard deviation for each image."""
        kernel = max(3, 2 * (round(self.size * min(images.shape[2:])) // 2) + 1)
        return texture.gaussian_blur(images, draw.uniform(len(images), low=self.sigma[0], high=self.sigma[1]), kernel)


@parameters
class GaussianNoise(Operation):
    """Noise on every value.

    Attributes:
        sigma: range of the standard deviation.
    """

    op: Literal["gaussian_noise"] = "gaussian_noise"
    sigma: Factors = (0.0, 0.1)

    def apply(self, images: Tensor, draw: Draw) -> Tensor:
        """Draw a standard deviation and the noise for each image."""
        sigmas = draw.uniform(len(images), low=self.sigma[0], high=self.sigma[1])
        return texture.gaussian_noise(images, draw.normal(*images.shape), sigmas)


@parameters
class Cutout(Operation):
    """A square erased about a random pixel (DeVries & Taylor, 2017).

    Attributes:
        size: of the square as a share of the side, a range.
        value: of the erased pixels.
    """

    op: Literal["cutout"] = "cutout"
    size: Fractions = (0.5, 0.5)
    value: Fraction = 0.5

    def apply(self, images: Tensor, draw: Draw) -> Tensor:
        """Draw a place and a size for each image."""
        count, (rows, columns) = len(images), images.shape[2:]
        side = (min(rows, columns) * draw.uniform(count, low=self.size[0], high=self.size[1])).round()
        centre = draw.uniform(count, 2)
        top = (centre[:, 0] * rows).floor() - (side / 2).floor()
        left = (centre[:, 1] * columns).floor() - (side / 2).floor()
        return texture.erase(images, top, left, side, side, self.value)
