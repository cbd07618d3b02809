"""Transforms with one strength parameter, which RandAugment, TrivialAugment and AugMix choose from.

Their names, and the meaning of strength 1, follow the papers' code.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from repflow.augment import colour, geometry, texture
from repflow.augment.per_sample import Transform, apply_chosen
from repflow.hardware.portable_math import arctangent

Name = Literal[
    "identity",
    "autocontrast",
    "brightness",
    "contrast",
    "equalise",
    "posterise",
    "rotate",
    "saturation",
    "sharpness",
    "shear_x",
    "shear_y",
    "solarise",
    "translate_x",
    "translate_y",
]
Names = Annotated[tuple[Name, ...], Field(min_length=1)]
"""Names of the transforms to choose from."""


@dataclass(frozen=True)
class Limits:
    """The parameters of each transform at strength 1.

    Attributes:
        degrees: rotation angle.
        slope: of the shears, about the image's centre.
        shift: translation, as a fraction of the side.
        factor: difference from 1 of the factors of brightness, contrast, saturation and sharpness.
        bits: kept by posterise at strength 0 and at strength 1.
        fill: value of pixels from outside the image.
    """

    degrees: float = 30.0
    slope: float = 0.3
    shift: float = 0.3
    factor: float = 0.9
    bits: tuple[int, int] = (8, 4)
    fill: float = 0.5


ScaledTransform = Callable[[Tensor, Tensor, Tensor, Limits], Tensor]
"""A function of images, strengths in [0, 1] [B], directions -1 or 1 [B], and limits."""


ApplyByName = Callable[[Tensor, Sequence[Name], Tensor, Tensor, Tensor, Limits], Tensor]
"""The type of `apply_by_name` and of its masked form."""


def apply_by_name(
    images: Tensor, names: Sequence[Name], choice: Tensor, strength: Tensor, direction: Tensor, limits: Limits
) -> Tensor:
    """Apply one of the named transforms to every image.

    Args:
        images: [B, C, H, W].
        names: of the transforms to choose from.
        choice: index into `names`, int64 [B], on the CPU like the other parameters.
        strength: in [0, 1], [B].
        direction: -1 or 1, [B].
        limits: the parameters at strength 1.
    """
    return apply_chosen(images, choice, [scaled(name, limits) for name in names], strength, direction)


def scaled(name: Name, limits: Limits) -> Transform:
    """A transform by its name, as a function of images, strengths in [0, 1] [B] and directions -1 or 1 [B]."""
    return partial(_apply, transform=TRANSFORMS[name], limits=limits)


def _apply(
    images: Tensor, strength: Tensor, direction: Tensor, *, transform: ScaledTransform, limits: Limits
) -> Tensor:
    return transform(images, strength, direction, limits)


def factor(strength: Tensor, direction: Tensor, limits: Limits) -> Tensor:
    """Of brightness, contrast, saturation or sharpness."""
    return 1 + limits.factor * strength * direction


def _posterise(images: Tensor, strength: Tensor, direction: Tensor, limits: Limits) -> Tensor:
    weakest, strongest = limits.bits
    return colour.posterise(images, weakest - ((weakest - strongest) * strength).round())


def angle(strength: Tensor, direction: Tensor, limits: Limits) -> Tensor:
    """Of a rotation, in degrees."""
    return limits.degrees * strength * direction


def slope(strength: Tensor, direction: Tensor, limits: Limits) -> Tensor:
    """Of a shear, in degrees."""
    return torch.rad2deg(arctangent(limits.slope * strength)) * direction


def shift(strength: Tensor, direction: Tensor, limits: Limits, side: int) -> Tensor:
    """Of a translation, in pixels of a side of the image."""
    return direction * strength * limits.shift * side


def _shear_x(images: Tensor, strength: Tensor, direction: Tensor, limits: Limits) -> Tensor:
    degrees = slope(strength, direction, limits)
    return geometry.shear(images, degrees, torch.zeros_like(degrees), limits.fill)


def _shear_y(images: Tensor, strength: Tensor, direction: Tensor, limits: Limits) -> Tensor:
    degrees = slope(strength, direction, limits)
    return geometry.shear(images, torch.zeros_like(degrees), degrees, limits.fill)


def _translate_x(images: Tensor, strength: Tensor, direction: Tensor, limits: Limits) -> Tensor:
    pixels = shift(strength, direction, limits, images.shape[3])
    return geometry.translate(images, pixels, torch.zeros_like(pixels), limits.fill)


def _translate_y(images: Tensor, strength: Tensor, direction: Tensor, limits: Limits) -> Tensor:
    pixels = shift(strength, direction, limits, images.shape[2])
    return geometry.translate(images, torch.zeros_like(pixels), pixels, limits.fill)


TRANSFORMS: dict[Name, ScaledTransform] = {
    "identity": lambda images, s, d, limits: images,
    "autocontrast": lambda images, s, d, limits: colour.autocontrast(images),
    "brightness": lambda images, s, d, limits: colour.brightness(images, factor(s, d, limits)),
    "contrast": lambda images, s, d, limits: colour.contrast(images, factor(s, d, limits)),
    "equalise": lambda images, s, d, limits: colour.equalise(images),
    "posterise": _posterise,
    "rotate": lambda images, s, d, limits: geometry.rotate(images, angle(s, d, limits), limits.fill),
    "saturation": lambda images, s, d, limits: colour.saturation(images, factor(s, d, limits)),
    "sharpness": lambda images, s, d, limits: texture.sharpness(images, factor(s, d, limits)),
    "shear_x": _shear_x,
    "shear_y": _shear_y,
    "solarise": lambda images, s, d, limits: colour.solarise(images, 1 - s),
    "translate_x": _translate_x,
    "translate_y": _translate_y,
}
