"""A policy: operations one after another, on whole batches."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from repflow.augment import operations as ops
from repflow.augment.randaugment import RandAugment
from repflow.draw import Draw

AnyOperation = Annotated[
    ops.RandomResizedCrop
    | ops.PadAndCrop
    | ops.HorizontalFlip
    | ops.Affine
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
    | RandAugment,
    Field(discriminator="op"),
]
"""The parameters of any operation; its `op` tells which."""

PolicyConfig = tuple[AnyOperation, ...]
"""The parameters of a policy, as they stand in a list in `conf/augment/`."""


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
            float32 [B, C, H, W] in [0, 1].
        """
        for position, operation in enumerate(self.operations):
            images = operation(images, draw.stream(f"{position}-{operation.op}"))
        return images
