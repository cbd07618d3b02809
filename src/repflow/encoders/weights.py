"""Random weights as a function of the seed, and statistics that an encoder normalises by."""

import contextlib
from collections.abc import Iterator

import numpy as np
import torch

from repflow.encoders import Encoder
from repflow.randomness import derive


@contextlib.contextmanager
def seeded(seed: int, stream: str, step: int = 0) -> Iterator[None]:
    """PyTorch's global generator draws from (seed, stream, step) inside the block and is restored after it."""
    with torch.random.fork_rng():
        torch.manual_seed(derive(seed, stream, step))
        yield


def normalise_by(encoder: Encoder, images: np.ndarray) -> None:
    """Let `encoder` normalise by the channel statistics of these images, uint8 [N, channels, size, size]."""
    mean, square = np.zeros(images.shape[1]), np.zeros(images.shape[1])
    for part in np.array_split(images, max(1, len(images) // 4096)):
        values = part.astype(np.float64) / 255
        mean += values.sum(axis=(0, 2, 3))
        square += (values**2).sum(axis=(0, 2, 3))
    count = images.size // images.shape[1]
    mean, square = mean / count, square / count
    std = np.sqrt(np.maximum(square - mean**2, 0))
    encoder.set_normalisation(torch.from_numpy(mean).float(), torch.from_numpy(std).float())
