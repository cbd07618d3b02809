"""Augmentation policies: sequences of operations on whole batches."""

import contextlib
import math
from collections.abc import Callable, Iterator
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from repflow.augment import operations as ops
from repflow.augment.operation import DrawnParams
from repflow.augment.per_sample import is_masked
from repflow.randomness.draws import Draw

AnyOperation = Annotated[
    ops.RandomResizedCrop
    | ops.PadAndCrop
    | ops.ChannelShift
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
    | ops.Downsample
    | ops.Cutout
    | ops.RandomErasing
    | ops.RandAugment
    | ops.TrivialAugment
    | ops.AugMix,
    Field(discriminator="op"),
]
"""The parameters of an operation, distinguished by `op`."""

PolicyConfig = tuple[AnyOperation, ...]
"""The parameters of a policy: a list of operations, as in `conf/augment/`."""

CHUNK_BYTES = 2**22
"""Bytes of images per CPU thread that are processed together: small enough for its caches, large enough for PyTorch."""


class Policy:
    """A sequence of operations with random parameters drawn per image.

    Args:
        operations: in the order of application; an empty policy is the identity.
    """

    def __init__(self, operations: PolicyConfig):
        self.operations = operations
        self._apply_masked: Callable[[Tensor, list[DrawnParams]], Tensor] = self._one_after_the_other

    def compile(self, mode: str = "default") -> None:
        """Let `torch.compile` make one graph of the operations where they take the masked form, on a GPU.

        Elsewhere nothing changes. Random numbers are drawn outside the graph.

        Args:
            mode: of `torch.compile`. With CUDA graphs (`reduce-overhead`) the views of a call are overwritten by the
                next one, so that a method with two views of a policy has to copy the first.
        """
        self._apply_masked = torch.compile(self._one_after_the_other, mode=mode)

    @torch.no_grad()
    def __call__(self, images: Tensor, draw: Draw) -> Tensor:
        """Augment a batch.

        Args:
            images: float32 [B, C, H, W] in [0, 1], on any device; not modified.
            draw: random numbers; every operation draws from its own stream, named by its position.

        Returns:
            float32 [B, C, H, W] in [0, 1]; another size if an operation changes it.
        """
        if is_masked(images):
            return self._apply_masked(images, self._draw_params(images, draw.to(images.device)))
        params, parts = self._draw_params(images, draw.to("cpu")), []
        with _as_many_threads_as_chunks(images):
            for rows in _chunks(images):
                part = images[rows].clone()  # operations work in place
                for operation, drawn in zip(self.operations, params, strict=True):
                    part = operation.apply(part, drawn.subset(rows))
                parts.append(part)
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _draw_params(self, images: Tensor, draw: Draw) -> list[DrawnParams]:
        """The random parameters of every operation, on the device of `draw`."""
        params = []
        shape = (images.shape[1], images.shape[2], images.shape[3])
        for position, operation in enumerate(self.operations):
            params.append(operation.draw_params(len(images), shape, draw.stream(f"{position}-{operation.op}")))
            shape = operation.shape(shape)
        return params

    def _one_after_the_other(self, images: Tensor, params: list[DrawnParams]) -> Tensor:
        """All operations in the masked form: [B, C, H, W], not the given tensor itself."""
        images = images.clone()
        for operation, drawn in zip(self.operations, params, strict=True):
            images = operation.apply_masked(images, drawn)
        return images


@contextlib.contextmanager
def _as_many_threads_as_chunks(images: Tensor) -> Iterator[None]:
    """On the CPU, no more threads than the batch has chunks.

    An operation on one chunk takes about as long as to wake a sleeping thread: 256 views of SimCLR at 24 pixels took
    31 ms with two threads and 16 ms with one.
    """
    threads = torch.get_num_threads()
    needed = max(1, math.ceil(_bytes(images) / CHUNK_BYTES))
    if images.device.type != "cpu" or needed >= threads:
        yield
        return
    torch.set_num_threads(needed)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _bytes(images: Tensor) -> int:
    return images.numel() * images.element_size()


def _chunks(images: Tensor) -> list[slice]:
    """Chunks of a batch: the whole batch on a GPU; on the CPU equal chunks that fit into the caches."""
    count = len(images)
    if images.device.type != "cpu":
        return [slice(0, count)]
    parts = max(1, math.ceil(_bytes(images) / (CHUNK_BYTES * torch.get_num_threads())))
    size = max(1, math.ceil(count / parts))
    return [slice(start, start + size) for start in range(0, max(1, count), size)]
