"""A policy: operations one after another, on whole batches."""

import math
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from repflow.augment import operations as ops
from repflow.randomness.draws import Draw

AnyOperation = Annotated[
    ops.RandomResizedCrop
    | ops.PadAndCrop
    | ops.HorizontalFlip
    | ops.VerticalFlip
    | ops.Affine
    | ops.Rotation
    | ops.Perspective
    | ops.Brightness
    | ops.Contrast
    | ops.Saturation
    | ops.Hue
    | ops.ColourJitter
    | ops.Greyscale
    | ops.Invert
    | ops.Solarise
    | ops.Posterise
    | ops.Equalise
    | ops.Autocontrast
    | ops.Sharpness
    | ops.GaussianBlur
    | ops.GaussianNoise
    | ops.Cutout
    | ops.RandomErasing
    | ops.RandAugment
    | ops.TrivialAugment
    | ops.AugMix,
    Field(discriminator="op"),
]
"""The parameters of any operation; its `op` tells which."""

PolicyConfig = tuple[AnyOperation, ...]
"""The parameters of a policy, as they stand in a list in `conf/augment/`."""

WORKED_ON = 2**22
"""Bytes of images that a CPU's core works on at a time: little enough for its caches, much to do for each call."""


class Policy:
    """Operations one after another; each image of a batch gets numbers of its own.

    Args:
        operations: in the order of their application; none leaves the images as they are.
    """

    def __init__(self, operations: PolicyConfig):
        self.operations = operations

    @torch.no_grad()
    def __call__(self, images: Tensor, draw: Draw) -> Tensor:
        """Augment a batch.

        Args:
            images: float32 [B, C, H, W] in [0, 1], on any device; they are left as they are.
            draw: every operation takes its numbers from a stream of its own, named by its position.

        Returns:
            float32 [B, C, H, W] in [0, 1]; of another size where an operation gives one.
        """
        decisions = []
        shape = (images.shape[1], images.shape[2], images.shape[3])
        for position, operation in enumerate(self.operations):
            decisions.append(operation.decide(len(images), shape, draw.stream(f"{position}-{operation.op}")))
            shape = operation.shape(shape)

        parts = []
        for rows in _parts(images):
            part = images[rows].clone()  # from here on in place
            for operation, decided in zip(self.operations, decisions, strict=True):
                part = operation.apply(part, decided.subset(rows))
            parts.append(part)
        return parts[0] if len(parts) == 1 else torch.cat(parts)


def _parts(images: Tensor) -> list[slice]:
    """All images at once on another device; on the CPU so few, in even parts, that memory does not set the pace."""
    count = len(images)
    if images.device.type != "cpu":
        return [slice(0, count)]
    parts = max(1, math.ceil(images.numel() * images.element_size() / (WORKED_ON * torch.get_num_threads())))
    size = max(1, math.ceil(count / parts))
    return [slice(start, start + size) for start in range(0, max(1, count), size)]
