"""The masked form of `strength.apply_by_name`: one of the named transforms for every image, without groups on the host.

Not one transform after the other for all images. Rotations, shears and translations are one sampling, with a matrix per
image; brightness, contrast and saturation are one blend, with weights per image. Only what is left, such as histogram
equalisation, is computed for all images and taken by those that chose it.
"""

import functools
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from repflow.augment import colour, geometry
from repflow.augment.per_sample import transform_masked
from repflow.augment.strength import Limits, Name, angle, factor, scaled, shift, slope

MOVES: tuple[Name, ...] = ("rotate", "shear_x", "shear_y", "translate_x", "translate_y")
"""Affine transforms about the centre."""
BLENDS: tuple[Name, ...] = ("brightness", "contrast", "saturation")
"""Blends with a grey image, in the order of `colour.adjust`."""


def apply_by_name_masked(
    images: Tensor, names: Sequence[Name], choice: Tensor, strength: Tensor, direction: Tensor, limits: Limits
) -> Tensor:
    """Apply one of the named transforms to every image.

    Args:
        images: [B, C, H, W]; not modified.
        names: of the transforms to choose from; a name may stand there several times.
        choice: index into `names`, int64 [B], on the device of the images like the other parameters.
        strength: in [0, 1], [B].
        direction: -1 or 1, [B].
        limits: the parameters at strength 1.
    """
    chosen = {name: _any([choice == place for place, each in enumerate(names) if each == name]) for name in names}
    if any(name in chosen for name in MOVES):
        images = _moved(images, chosen, strength, direction, limits)
    if any(name in chosen for name in BLENDS):
        images = _blended(images, chosen, factor(strength, direction, limits))
    for name, those in chosen.items():
        if name not in (*MOVES, *BLENDS, "identity"):
            images = transform_masked(images, those, scaled(name, limits), strength, direction)
    return images


def _moved(
    images: Tensor, chosen: Mapping[Name, Tensor], strength: Tensor, direction: Tensor, limits: Limits
) -> Tensor:
    """Rotated, sheared and translated images by one affine transform, which is none of the three but one."""
    none = torch.zeros_like(strength)

    def of(name: Name, value: Tensor) -> Tensor:
        return torch.where(chosen[name], value, none) if name in chosen else none

    height, width = images.shape[2:]
    sheared = slope(strength, direction, limits)
    degrees = of("rotate", -angle(strength, direction, limits))  # `affine` turns clockwise
    along_x = of("translate_x", shift(strength, direction, limits, width))
    along_y = of("translate_y", shift(strength, direction, limits, height))
    shears = torch.stack([of("shear_x", sheared), of("shear_y", sheared)], dim=1)
    moves = torch.stack([along_x, along_y], dim=1)
    affine = functools.partial(geometry.affine, fill=limits.fill)
    some = _any([chosen[name] for name in MOVES if name in chosen])
    return transform_masked(images, some, affine, degrees, moves, torch.ones_like(none), shears)


def _blended(images: Tensor, chosen: Mapping[Name, Tensor], factors: Tensor) -> Tensor:
    """Brightness, contrast and saturation; factor 1, and so no change, for images that chose neither."""
    used = [name for name in BLENDS if name in chosen]
    which = torch.zeros_like(factors, dtype=torch.int64)
    for name in used:
        which = which.masked_fill(chosen[name], BLENDS.index(name))
    some = _any([chosen[name] for name in used])
    return colour.adjust(images.clone(), which, torch.where(some, factors, torch.ones_like(factors)))


def _any(masks: Sequence[Tensor]) -> Tensor:
    """Where any of the masks [B] holds."""
    return functools.reduce(torch.logical_or, masks)
