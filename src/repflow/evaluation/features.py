"""What models say of images: features of an encoder, probabilities of a classifier."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from repflow.data.read.batches import as_float
from repflow.data.read.memory_mapped import Images
from repflow.encoders import Classifier, Encoder


def encode(encoder: Encoder, images: Images, batch_size: int = 512) -> np.ndarray:
    """Features of images, from an encoder in evaluation mode.

    Args:
        encoder: images to features; runs where its weights are.
        images: uint8 [N, channels, size, size].
        batch_size: images at once.

    Returns:
        float32 [N, width].
    """
    return _all(encoder, images, batch_size, encoder.width).numpy()


def probabilities(classifier: Classifier, images: Images, batch_size: int = 512) -> np.ndarray:
    """Probabilities of the classes for images, from a classifier in evaluation mode.

    Args:
        classifier: images to logits; runs where its weights are.
        images: uint8 [N, channels, size, size].
        batch_size: images at once.

    Returns:
        float64 [N, classes]; every row sums to 1.
    """
    logits = _all(classifier, images, batch_size, classifier.classes)
    return logits.double().softmax(dim=1).numpy()


def in_parts(images: Images, size: int, device: torch.device) -> Iterator[Tensor]:
    """Images, uint8 [N, channels, side, side], `size` at once as models take them: [n, channels, side, side] in [0, 1]
    on `device`."""
    for first in range(0, len(images), size):
        # A copy, for images that are memory-mapped may not be written to, which PyTorch warns of.
        part = torch.from_numpy(np.array(images[first : first + size]))
        yield as_float(part.to(device))


def _all(model: nn.Module, images: Images, batch_size: int, width: int) -> Tensor:
    device = next((weight.device for weight in model.parameters()), torch.device("cpu"))
    was_training = model.training
    model.eval()
    with torch.inference_mode():
        parts = [model(part).float().cpu() for part in in_parts(images, batch_size, device)]
    model.train(was_training)
    return torch.cat([torch.empty(0, width), *parts])
