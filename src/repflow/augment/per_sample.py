"""Per-sample parameters on the device of the images, and different transforms for the images of one batch.

There are two forms. On the CPU, images are sorted by what happens to them, and nothing is computed for an image that
does not need it. On a GPU that would take lists of images on the host and many small launches. There the parameters are
on the GPU, a transform is computed for all images, and those that were chosen take its result: the masked form. It asks
nothing of the host that depends on values, so that it is one graph for `torch.compile`.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Transform = Callable[..., Tensor]
"""Images [B, C, H, W] and per-sample parameters, tensors [B, ...], to images of the same shape."""

MASKED = frozenset({"cuda"})
"""Types of devices that take the masked form."""


def is_masked(images: Tensor) -> bool:
    """Whether images on this device take the masked form, with parameters that are on the device as well."""
    return images.device.type in MASKED


def to_device(params: Tensor, images: Tensor) -> Tensor:
    """Copy parameters that may have been drawn on the CPU to the device of the images, without synchronisation."""
    return params.to(images.device, non_blocking=True)


def pair(first: int, second: int, device: torch.device | str) -> Tensor:
    """Two integers, int64 [2], made on the device: a list would be copied to it, and the copy waited for."""
    return first + (second - first) * torch.arange(2, device=device)


def per_image(params: Tensor, images: Tensor) -> Tensor:
    """Parameters [B] on the device of the images and in a shape that goes with theirs: [B, 1, 1, 1]."""
    return to_device(params, images).view(-1, 1, 1, 1)


def transform_rows_(images: Tensor, chosen: Tensor, transform: Transform, *params: Tensor) -> Tensor:
    """Apply a transform to the chosen images only, in place: the form of the CPU.

    Args:
        images: [B, C, H, W].
        chosen: bool [B], on the CPU.
        transform: a function of images and their parameters.
        params: per-sample parameters, tensors [B, ...], on the CPU.
    """
    rows = chosen.nonzero()[:, 0]
    if not len(rows):
        return images
    places = to_device(rows, images)
    changed = transform(images.index_select(0, places), *(each[rows] for each in params))
    return images.index_copy_(0, places, changed)


def transform_masked(images: Tensor, chosen: Tensor, transform: Transform, *params: Tensor) -> Tensor:
    """The same in the masked form: a new tensor, and every other image stays exactly as it is.

    `chosen` and `params` are on the device of the images.
    """
    return torch.where(per_image(chosen, images), transform(images, *params), images)


def apply_chosen(images: Tensor, choice: Tensor, transforms: Sequence[Transform], *params: Tensor) -> Tensor:
    """Apply to every image the transform that was chosen for it; each transform runs once, on its images only.

    Args:
        images: [B, C, H, W].
        choice: index into `transforms`, int64 [B] on the CPU.
        transforms: functions of images and their parameters.
        params: per-sample parameters, tensors [B, ...] on the CPU.
    """
    order = choice.argsort(stable=True)
    sizes = choice.bincount(minlength=len(transforms)).tolist()
    places = to_device(order, images)
    sorted_rows = [images.index_select(0, places), *(each[order] for each in params)]
    groups = zip(*(each.split(sizes) for each in sorted_rows), strict=True)
    changed = [transform(*group) for transform, group in zip(transforms, groups, strict=True) if len(group[0])]
    return torch.empty_like(images).index_copy_(0, places, torch.cat(changed))
