"""Blur, sharpness, noise and erasing operations."""

from typing import Literal

from torch import Tensor

from repflow.augment import texture
from repflow.augment.operation import Factors, Fractions, Operation, Params, Positives, Shape
from repflow.augment.operations.boxes import draw_boxes, first_that_fits, place_boxes
from repflow.hardware.portable_math import square_root
from repflow.randomness.draws import Draw
from repflow.schema import Fraction, parameters


@parameters
class Sharpness(Operation):
    """Sharper or smoother.

    Attributes:
        factors: range of the factor; 0 smooths, 1 is the identity, 2 sharpens.
    """

    op: Literal["sharpness"] = "sharpness"
    factors: Factors = (0.1, 1.9)

    def make_params(self, count: int, shape: Shape, draw: Draw) -> Params:
        """Draw a factor for each image."""
        return (draw.uniform(count, low=self.factors[0], high=self.factors[1]),)

    def transform(self, images: Tensor, *params: Tensor) -> Tensor:
        """Blend with the smoothed image."""
        return texture.sharpness(images, *params)


@parameters
class GaussianBlur(Operation):
    """A Gaussian blur.

    Attributes:
        size: of the kernel, as a fraction of the side; SimCLR uses 0.1.
        sigma: range of the standard deviation in pixels.
    """

    op: Literal["gaussian_blur"] = "gaussian_blur"
    probability: Fraction = 0.5
    size: Fraction = 0.1
    sigma: Positives = (0.1, 2.0)

    def make_params(self, count: int, shape: Shape, draw: Draw) -> Params:
        """Draw a standard deviation for each image."""
        return (draw.uniform(count, low=self.sigma[0], high=self.sigma[1]),)

    def transform(self, images: Tensor, *params: Tensor) -> Tensor:
        """Blur."""
        kernel = max(3, 2 * (round(self.size * min(images.shape[2:])) // 2) + 1)
        return texture.gaussian_blur(images, params[0], kernel)


@parameters
class Downsample(Operation):
    """Fewer pixels, enlarged again to the size of the image (Doersch, Gupta, Efros, ICCV 2015).

    Attributes:
        scale: range of the share of the pixels that remain.
    """

    op: Literal["downsample"] = "downsample"
    probability: Fraction = 0.33
    scale: Fractions = (0.01, 1.0)

    def make_params(self, count: int, shape: Shape, draw: Draw) -> Params:
        """Draw the share of height and width that remains for each image."""
        return (square_root(draw.uniform(count, low=self.scale[0], high=self.scale[1])),)

    def transform(self, images: Tensor, *params: Tensor) -> Tensor:
        """Reduce and enlarge."""
        return texture.coarser(images, *params)


@parameters
class GaussianNoise(Operation):
    """Additive Gaussian noise.

    Attributes:
        sigma: range of the standard deviation.
    """

    op: Literal["gaussian_noise"] = "gaussian_noise"
    sigma: Factors = (0.0, 0.1)

    def make_params(self, count: int, shape: Shape, draw: Draw) -> Params:
        """Draw a standard deviation and the noise for each image."""
        sigmas = draw.uniform(count, low=self.sigma[0], high=self.sigma[1])
        return draw.normal(count, *shape), sigmas

    def transform(self, images: Tensor, *params: Tensor) -> Tensor:
        """Add the noise."""
        return texture.gaussian_noise(images, *params)


@parameters
class Cutout(Operation):
    """A square erased about a random pixel (DeVries & Taylor, 2017).

    Attributes:
        size: range of the square's side, as a fraction of the image's.
        value: of the erased pixels.
    """

    op: Literal["cutout"] = "cutout"
    size: Fractions = (0.5, 0.5)
    value: Fraction = 0.5

    def make_params(self, count: int, shape: Shape, draw: Draw) -> Params:
        """Draw a place and a size for each image."""
        _, rows, columns = shape
        side = (min(rows, columns) * draw.uniform(count, low=self.size[0], high=self.size[1])).round()
        centre = draw.uniform(count, 2)
        top = (centre[:, 0] * rows).floor() - (side / 2).floor()
        left = (centre[:, 1] * columns).floor() - (side / 2).floor()
        return top, left, side, side

    def transform(self, images: Tensor, *params: Tensor) -> Tensor:
        """Erase."""
        top, left, height, width = params
        return texture.erase(images, top, left, height, width, self.value)


@parameters
class RandomErasing(Operation):
    """A box of random area and aspect ratio erased (Zhong et al., AAAI 2020).

    Attributes:
        scale: range of the box's fraction of the area.
        ratio: range of height / width, drawn log-uniformly.
        value: of the erased pixels; None for uniform noise in [0, 1].
    """

    op: Literal["random_erasing"] = "random_erasing"
    probability: Fraction = 0.5
    scale: Fractions = (0.02, 0.33)
    ratio: Positives = (0.3, 3.3)
    value: Fraction | None = 0.0

    def make_params(self, count: int, shape: Shape, draw: Draw) -> Params:
        """Draw ten boxes for each image and take the first smaller than the image; if none is, erase nothing."""
        _, rows, columns = shape
        heights, widths = draw_boxes(count, rows * columns, self.scale, self.ratio, draw)
        fits = (heights < rows) & (widths < columns)
        height, width = first_that_fits(fits, heights * fits, widths * fits)
        box = (*place_boxes(height, width, (rows, columns), draw), height, width)
        return box if self.value is not None else (*box, draw.uniform(count, *shape))

    def transform(self, images: Tensor, *params: Tensor) -> Tensor:
        """Erase."""
        top, left, height, width, *noise = params
        return texture.erase(images, top, left, height, width, *noise, *(() if noise else (self.value,)))
