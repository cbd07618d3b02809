"""Numbers beside their images, and images that undergo different changes in one batch."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Change = Callable[..., Tensor]
"""Images [B, C, H, W] and numbers of each, tensors [B, ...], to images of the same shape."""


def beside(numbers: Tensor, images: Tensor) -> Tensor:
    """Numbers that were drawn on the CPU, on the device of the images; the CPU does not wait for it."""
    return numbers.to(images.device, non_blocking=True)


def by_choice(images: Tensor, choice: Tensor, changes: Sequence[Change], *numbers: Tensor) -> Tensor:
    """Let every image undergo the change that was chosen for it, each change with those images alone.

    Args:
        images: [B, C, H, W].
        choice: position in `changes`, int64 [B] on the CPU.
        changes: functions of images and their numbers.
        numbers: of each image, tensors [B, ...] on the CPU.
    """
    order = choice.argsort(stable=True)
    sizes = choice.bincount(minlength=len(changes)).tolist()
    places = beside(order, images)
    sorted_rows = [images.index_select(0, places), *(each[order] for each in numbers)]
    groups = zip(*(each.split(sizes) for each in sorted_rows), strict=True)
    changed = [change(*group) for change, group in zip(changes, groups, strict=True) if len(group[0])]
    return torch.empty_like(images).index_copy_(0, places, torch.cat(changed))
