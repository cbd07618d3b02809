"""Changes whose size is a single number, the strength: what RandAugment, TrivialAugment and AugMix choose from.

The names, and what a strength of 1 is for each, follow the papers' code.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from repflow.augment import colour, geometry, texture
from repflow.augment.rows import by_choice

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
"""What can be chosen for an image."""


@dataclass(frozen=True)
class Reach:
    """How far each change goes at strength 1.

    Attributes:
        degrees: of rotation.
        slope: of the shears; they are about the image's centre.
        shift: of the translations, as a share of the side.
        factor: by which brightness, contrast, saturation and sharpness leave 1.
        bits: that posterising keeps at strength 0 and at strength 1.
        fill: the value of what comes in from outside.
    """

    degrees: float = 30.0
    slope: float = 0.3
    shift: float = 0.3
    factor: float = 0.9
    bits: tuple[int, int] = (8, 4)
    fill: float = 0.5


Strong = Callable[[Tensor, Tensor, Tensor, Reach], Tensor]
"""Images, for each a strength in [0, 1] and a direction of -1 or 1, and the reach."""


def apply_by_name(
    images: Tensor, names: Sequence[Name], choice: Tensor, strength: Tensor, direction: Tensor, reach: Reach
) -> Tensor:
    """Let every image undergo one of the changes that are named.

    Args:
        images: [B, C, H, W].
        names: of the changes to choose from.
        choice: position in `names`, int64 [B], on the CPU like the other numbers.
        strength: in [0, 1], [B].
        direction: -1 or 1, [B].
        reach: how far each change goes.
    """
    changes = [partial(_change, change=CHANGES[name], reach=reach) for name in names]
    return by_choice(images, choice, changes, strength, direction)


def _change(images: Tensor, strength: Tensor, direction: Tensor, *, change: Strong, reach: Reach) -> Tensor:
    return change(images, strength, direction, reach)


def _factor(strength: Tensor, direction: Tensor, reach: Reach) -> Tensor:
    return 1 + reach.factor * strength * direction


def _posterise(images: Tensor, strength: Tensor, direction: Tensor, reach: Reach) -> Tensor:
    weakest, strongest = reach.bits
    return colour.posterise(images, weakest - ((weakest - strongest) * strength).round())


def _slope(strength: Tensor, direction: Tensor, reach: Reach) -> Tensor:
    return torch.rad2deg(torch.atan(reach.slope * strength)) * direction


def _shear_x(images: Tensor, strength: Tensor, direction: Tensor, reach: Reach) -> Tensor:
    slope = _slope(strength, direction, reach)
    return geometry.shear(images, slope, torch.zeros_like(slope), reach.fill)


def _shear_y(images: Tensor, strength: Tensor, direction: Tensor, reach: Reach) -> Tensor:
    slope = _slope(strength, direction, reach)
    return geometry.shear(images, torch.zeros_like(slope), slope, reach.fill)


def _translate_x(images: Tensor, strength: Tensor, direction: Tensor, reach: Reach) -> Tensor:
    shift = direction * strength * reach.shift * images.shape[3]
    return geometry.translate(images, shift, torch.zeros_like(shift), reach.fill)


def _translate_y(images: Tensor, strength: Tensor, direction: Tensor, reach: Reach) -> Tensor:
    shift = direction * strength * reach.shift * images.shape[2]
    return geometry.translate(images, torch.zeros_like(shift), shift, reach.fill)


CHANGES: dict[Name, Strong] = {
    "identity": lambda images, s, d, reach: images,
    "autocontrast": lambda images, s, d, reach: colour.autocontrast(images),
    "brightness": lambda images, s, d, reach: colour.brightness(images, _factor(s, d, reach)),
    "contrast": lambda images, s, d, reach: colour.contrast(images, _factor(s, d, reach)),
    "equalise": lambda images, s, d, reach: colour.equalise(images),
    "posterise": _posterise,
    "rotate": lambda images, s, d, reach: geometry.rotate(images, reach.degrees * s * d, reach.fill),
    "saturation": lambda images, s, d, reach: colour.saturation(images, _factor(s, d, reach)),
    "sharpness": lambda images, s, d, reach: texture.sharpness(images, _factor(s, d, reach)),
    "shear_x": _shear_x,
    "shear_y": _shear_y,
    "solarise": lambda images, s, d, reach: colour.solarise(images, 1 - s),
    "translate_x": _translate_x,
    "translate_y": _translate_y,
}
