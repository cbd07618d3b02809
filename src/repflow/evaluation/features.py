"""Batched inference: features of an encoder, class probabilities of a classifier."""

import itertools
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from repflow.data.read.batches import as_float, inference_batch
from repflow.data.read.memory_mapped import Images
from repflow.encoders import Classifier, Encoder
from repflow.encoders.ensemble import Ensemble


def encode(encoder: Encoder, images: Images, batch_size: int = 512) -> np.ndarray:
    """Features of images, from an encoder in evaluation mode.

    Args:
        encoder: images to features; runs on the device of its weights.
        images: uint8 [N, channels, size, size].
        batch_size: images per batch, fewer of large ones.

    Returns:
        float32 [N, width].
    """
    return _all(encoder, images, batch_size, encoder.width).numpy()


def probabilities(classifier: Classifier | Ensemble, images: Images, batch_size: int = 512) -> np.ndarray:
    """Class probabilities of images, from a classifier in evaluation mode.

    Args:
        classifier: images to logits; runs on the device of its weights.
        images: uint8 [N, channels, size, size].
        batch_size: images per batch, fewer of large ones.

    Returns:
        float64 [N, classes]; every row sums to 1.
    """
    logits = _all(classifier, images, batch_size, classifier.classes)
    return logits.double().softmax(dim=1).numpy()


def in_batches(images: Images, size: int, device: torch.device) -> Iterator[Tensor]:
    """Batches of up to `size` images, uint8 [N, channels, side, side], as floats in [0, 1] on `device`."""
    for first in range(0, len(images), size):
        # Copied, as PyTorch warns of memory-mapped arrays, which are read-only.
        part = torch.from_numpy(np.array(images[first : first + size]))
        yield as_float(part.to(device))


def _all(model: nn.Module, images: Images, batch_size: int, width: int) -> Tensor:
    held = itertools.chain(model.parameters(), model.buffers())  # pixels and neighbours have nothing to train
    device = next((tensor.device for tensor in held), torch.device("cpu"))
    was_training = model.training
    model.eval()
    found = torch.empty(len(images), width)
    first = 0
    with torch.inference_mode():
        for part in in_batches(images, inference_batch(images, batch_size), device):
            found[first : first + len(part)] = model(part).float()
            first += len(part)
    model.train(was_training)
    return found
