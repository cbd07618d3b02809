"""Image grids of the report: samples of a domain, and augmented views."""

import numpy as np
import torch
import torch.nn.functional as F

from repflow.augment.policy import Policy
from repflow.data.read.batches import as_float
from repflow.randomness.draws import Draw
from repflow.stages.image_grids import as_png, tile_images
from repflow.stages.reporting.style import Graphic


def grid_graphic(name: str, alt: str, images: np.ndarray, columns: int) -> Graphic:
    """Images uint8 [N, 1 or 3, size, size] as a grid with `columns` columns; the last row may be shorter."""
    grid = tile_images([images[first : first + columns] for first in range(0, len(images), columns)], columns)
    return Graphic(name, alt, as_png(grid), width=grid.shape[1])


def augmented_views(policy: Policy, images: np.ndarray, views: int, seed: int, name: str) -> np.ndarray:
    """Each image followed by `views` augmented views of it.

    Args:
        policy: the augmentation policy.
        images: uint8 [N, channels, size, size].
        views: number of views of each image.
        seed: the random seed.
        name: name of the policy, which is part of the random stream's name.

    Returns:
        uint8 [N * (1 + views), channels, size, size]; views of another size are shown at the size of the images.
    """
    originals = as_float(torch.from_numpy(images))
    size = originals.shape[-2:]
    rounds = [policy(originals, Draw(seed, f"report/augment/{name}", number)) for number in range(views)]
    rounds = [each if each.shape[-2:] == size else F.interpolate(each, size, mode="nearest") for each in rounds]
    together = torch.stack([originals, *rounds], dim=1).flatten(0, 1)
    return together.mul(255).round().clamp(0, 255).to(torch.uint8).numpy()


def samples_by_class(labels: np.ndarray, classes: int, each: int, generator: np.random.Generator) -> np.ndarray:
    """Random rows for a grid with one column per class and `each` images per column.

    Args:
        labels: int64 [N].
        classes: maximum number of classes; the first ones that have `each` rows are used.
        each: number of rows per class.
        generator: the random number generator.

    Returns:
        int64 [each, classes]; empty if no class has enough rows.
    """
    columns: list[np.ndarray] = []
    for label in np.unique(labels[labels >= 0]):
        rows = np.flatnonzero(labels == label)
        if len(rows) >= each and len(columns) < classes:
            columns.append(generator.permutation(rows)[:each])
    return np.stack(columns, axis=1) if columns else np.empty((0, 0), np.int64)
