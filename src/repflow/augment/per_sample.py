"""Per-sample parameters on the device of the images, and different transforms for the images of one batch."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Transform = Callable[..., Tensor]
"""Images [B, C, H, W] and per-sample parameters, tensors [B, ...], to images of the same shape."""


def to_device(params: Tensor, images: Tensor) -> Tensor:
    """Copy parameters that were drawn on the CPU to the device of the images, without synchronisation."""
    return params.to(images.device, non_blocking=True)


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
