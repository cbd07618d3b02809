"""Grids of images: samples of a domain, and what an augmentation policy makes of them."""

import numpy as np
import torch

from repflow.augment.policy import Policy
from repflow.data.read.batches import as_float
from repflow.randomness.draws import Draw
from repflow.stages.image_grids import as_png, side_by_side
from repflow.stages.reporting.style import Picture


def grid_picture(name: str, alt: str, images: np.ndarray, columns: int) -> Picture:
    """Images uint8 [N, 1 or 3, size, size] as a picture, `columns` of them in a line; the last line may be shorter."""
    sheet = side_by_side([images[first : first + columns] for first in range(0, len(images), columns)], columns)
    return Picture(name, alt, as_png(sheet), width=sheet.shape[1])


def augmented(policy: Policy, images: np.ndarray, views: int, seed: int, name: str) -> np.ndarray:
    """Each image followed by `views` augmented views of it.

    Args:
        policy: what to do with them.
        images: uint8 [N, channels, size, size].
        views: of each image.
        seed: of the draws.
        name: of the policy, for the draws.

    Returns:
        uint8 [N * (1 + views), channels, size, size].
    """
    originals = as_float(torch.from_numpy(images))
    rounds = [policy(originals, Draw(seed, f"report/augment/{name}", number)) for number in range(views)]
    together = torch.stack([originals, *rounds], dim=1).flatten(0, 1)
    return together.mul(255).round().clamp(0, 255).to(torch.uint8).numpy()


def samples_by_class(labels: np.ndarray, classes: int, each: int, generator: np.random.Generator) -> np.ndarray:
    """Rows for a grid with one column per class: `each` lines of them, drawn at random.

    Args:
        labels: int64 [N].
        classes: at most this many classes are shown, the first ones that have `each` rows.
        each: rows of every class.
        generator: of the draw.

    Returns:
        int64 [lines, columns]; empty where no class has so many rows.
    """
    columns: list[np.ndarray] = []
    for label in np.unique(labels[labels >= 0]):
        rows = np.flatnonzero(labels == label)
        if len(rows) >= each and len(columns) < classes:
            columns.append(generator.permutation(rows)[:each])
    return np.stack(columns, axis=1) if columns else np.empty((0, 0), np.int64)
