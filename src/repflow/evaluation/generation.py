"""How real the images of a generating method look."""

from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from repflow.data.read.memory_mapped import Images
from repflow.encoders import Encoder, build_encoder
from repflow.encoders.convolutional import SmallConfig
from repflow.evaluation.features import encode
from repflow.evaluation.frechet import fitted, frechet_distance
from repflow.randomness.draws import Draw, seeded
from repflow.randomness.seeds import numpy_generator

_AT_ONCE = 256
_MOST = 4096
"""Images on each side: enough for the covariance of 128 features."""


@runtime_checkable
class Generates(Protocol):
    """What a method that makes images has. Generating methods need no other mark."""

    def sample(self, count: int, size: tuple[int, ...], draw: Draw) -> Tensor:
        """Made images [count, C, *size] in [0, 1]."""


def fixed_features(channels: int) -> Encoder:
    """The feature space of the distances: 128 features of a convolutional network whose weights are random, the same in
    every run. Distances in it can be compared with each other, and not with those in the features of Inception."""
    with seeded(0, "frechet"):
        return build_encoder(SmallConfig(), channels, size=32).eval()


def made_images(method: Generates, count: int, size: tuple[int, ...], seed: int) -> np.ndarray:
    """What `method`, in evaluation mode on the CPU, makes: uint8 [count, C, *size]."""
    parts = []
    with torch.inference_mode():
        for first in range(0, count, _AT_ONCE):
            made = method.sample(min(_AT_ONCE, count - first), size, Draw(seed, "generation", first))
            parts.append(as_bytes(made))
    return np.concatenate(parts)


def as_bytes(images: Tensor) -> np.ndarray:
    """Images of any shape as uint8; what is not in [0, 1] is cut to it."""
    return (images.clamp(0, 1) * 255).round().to(torch.uint8).numpy()


def generation_scores(method: object, images: Images, seed: int) -> dict[str, float]:
    """Fréchet distances in `fixed_features`.

    Args:
        method: that was trained, in evaluation mode on the CPU.
        images: real ones, uint8 [N, C, H, W].
        seed: of the choice of real images, and of the made ones.

    Returns:
        Nothing for a method that makes no images or where there are fewer than 4 real ones. Else `frechet`, from made
        images to one half of the real ones (at most 4,096), and `frechet_real`, from the other half to it, which is
        what chance leaves of as many perfect images.
    """
    if not isinstance(method, Generates) or len(images) < 4:
        return {}
    half = min(len(images) // 2, _MOST)
    chosen = np.sort(numpy_generator(seed, "frechet").permutation(len(images))[: 2 * half])
    space = fixed_features(images.shape[1])
    made = made_images(method, half, images.shape[2:], seed)
    real, others, generated = (
        fitted(encode(space, each)) for each in (images[chosen[::2]], images[chosen[1::2]], made)
    )
    return {"frechet": frechet_distance(generated, real), "frechet_real": frechet_distance(others, real)}
