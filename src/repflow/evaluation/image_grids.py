"""Image grids of a trained method: figures of images, generated samples, clusters and first-layer filters."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from repflow.augment.color_spaces import lab_to_rgb
from repflow.data.read.batches import as_float
from repflow.data.read.memory_mapped import Images
from repflow.encoders import Encoder
from repflow.errors import ParameterError
from repflow.evaluation.cluster_assignments import AssignsClusters, cluster_assignments
from repflow.evaluation.features import encode
from repflow.evaluation.generation import GeneratesImages, as_bytes, generated_images
from repflow.randomness.seeds import numpy_generator
from repflow.training.contract import Method

log = logging.getLogger("repflow")

_ROWS = 8
_COLUMNS = 6
"""Images per row, approximately."""
_CLUSTERS = 12
_NEAREST = 8
_CLUSTERED = 2048
"""Maximum number of images that are assigned to clusters."""
_FILTERS_PER_ROW = 16


@runtime_checkable
class HasFigures(Protocol):
    """The interface of methods that can show what they do with an image."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Titles of the columns of `figures`, such as ("image", "reconstruction")."""

    def figures(self, images: Tensor) -> Tensor:
        """For every image [B, C, H, W] in [0, 1], one image per column: [B, columns, C, H, W]."""


@dataclass(frozen=True)
class ImageGrid:
    """Images in rows.

    Attributes:
        name: of the file, "pictures", "samples", "clusters" or "filters"; "pictures.NAME" for a task of a mixture.
        title: a short title.
        caption: a description of the content.
        rows: uint8 [n, 1 or 3 channels, h, w] each, of the same height and width.
        group: number of adjacent images that belong together.
        cell: approximate width in pixels at which each image is drawn.
    """

    name: str
    title: str
    caption: str
    rows: Sequence[np.ndarray]
    group: int = 1
    cell: int = 64


def image_grids(method: Method, images: Images, seed: int) -> list[ImageGrid]:
    """All image grids of `method`.

    Args:
        method: a trained method, in evaluation mode on the CPU, in single precision.
        images: held-out images, uint8 [N, C, H, W], of which some are shown. Without images, only samples and
            filters are.
        seed: random seed of the choice of images, and of samples.
    """
    encoder = method.learned
    assert isinstance(encoder, Encoder)
    # The encoder may have been compiled for another device and other batch sizes.
    with torch.inference_mode(), torch.compiler.set_stance("force_eager"):
        found = list(_samples(method, images.shape[2:], seed))
        if len(images):
            found += [*_figures(method, images, seed), *_clusters(method, encoder, images, seed)]
        return found + first_filters(encoder)


def _figures(method: Method, images: Images, seed: int) -> Iterator[ImageGrid]:
    """The figures of the method, or of each task of a mixture."""
    for path, part in method.named_modules():
        if not isinstance(part, HasFigures):
            continue
        group = len(part.columns)
        per_row = max(1, _COLUMNS // group)
        made = as_bytes(part.figures(_floats(_subset(images, per_row * _ROWS, seed))))  # [N, group, C, H, W]
        rows = [made[first : first + per_row].reshape(-1, *made.shape[2:]) for first in range(0, len(made), per_row)]
        name = path.rpartition(".")[2]
        title = f"Figures of {name or 'the method'}"
        caption = f"{len(made)} held-out images. From left to right: {', '.join(part.columns)}."
        yield ImageGrid(f"pictures.{name}" if name else "pictures", title, caption, rows, group)


def _samples(method: Method, size: tuple[int, ...], seed: int) -> Iterator[ImageGrid]:
    if isinstance(method, GeneratesImages):
        made = generated_images(method, _COLUMNS * _ROWS, size, seed)
        caption = f"{len(made)} images generated from random latent codes, not selected."
        yield ImageGrid("samples", "Generated images", caption, np.split(made, _ROWS))


def _clusters(method: Method, encoder: Encoder, images: Images, seed: int) -> Iterator[ImageGrid]:
    if not isinstance(method, AssignsClusters):
        return
    some = _subset(images, _CLUSTERED, seed)
    try:
        found = cluster_assignments(method, some)
    except ParameterError as error:
        log.info("pretrain: no image grid of clusters: %s", error)
        return
    nearest = nearest_members(found, encode(encoder, some), _CLUSTERS, _NEAREST)
    caption = (
        f"One cluster per row: the {len(nearest)} largest of {len(np.unique(found))} clusters of {len(some):,} held-out"
        " images. Each row shows the images whose features are nearest to the mean of the cluster, the nearest first."
    )
    yield ImageGrid("clusters", "Clusters and their nearest images", caption, [some[rows] for rows in nearest])


def nearest_members(found: np.ndarray, features: np.ndarray, clusters: int, each: int) -> list[np.ndarray]:
    """The members of the largest clusters that are nearest to the cluster's mean.

    Args:
        found: cluster assignments, int64 [N].
        features: float [N, width].
        clusters: maximum number of clusters, the largest first.
        each: maximum number of members per cluster.

    Returns:
        Indices of each cluster's members, the nearest first: int64 [n].
    """
    names, sizes = np.unique(found, return_counts=True)
    exact = features.astype(np.float64)
    nearest = []
    for name in names[np.argsort(-sizes, kind="stable")[:clusters]]:
        members = np.flatnonzero(found == name)
        distances = np.square(exact[members] - exact[members].mean(axis=0)).sum(axis=1)
        nearest.append(members[np.argsort(distances, kind="stable")[:each]])
    return nearest


def first_filters(encoder: Encoder) -> list[ImageGrid]:
    """The filters of the first layer of the encoder, or of its two halves, as images; none if it is no convolution."""
    parts = encoder.body.values() if isinstance(encoder.body, nn.ModuleDict) else [encoder.body]
    layers = [_first_layer(part) for part in parts]
    filters = [layer.weight for layer in layers if isinstance(layer, nn.Conv2d)]  # [n, C, h, w] each
    if not filters:
        return []
    rows = [as_bytes(_filter_images(row)) for each in filters for row in each.split(_FILTERS_PER_ROW)]
    height, width = rows[0].shape[2:]
    caption = (
        f"The {sum(map(len, filters))} filters of the first layer, {height} × {width} pixels each, scaled to full"
        " contrast; grey is a weight of 0."
    )
    return [ImageGrid("filters", "Filters of the encoder's first layer", caption, rows, cell=32)]


def _first_layer(body: nn.Module) -> nn.Module | None:
    """The first module with parameters and without submodules."""
    return next((each for each in body.modules() if not list(each.children()) and list(each.parameters())), None)


def _filter_images(weight: Tensor) -> Tensor:
    """Filters [n, C, h, w] as images [n, 1 or 3, h, w] in [0, 1], each scaled by its largest absolute weight.

    Two channels are a and b of CIELAB, at half lightness.
    """
    strong = weight.float() / weight.float().abs().amax(dim=(1, 2, 3), keepdim=True).clamp(min=1e-12)  # [-1, 1]
    if weight.shape[1] == 2:
        return lab_to_rgb(torch.cat([torch.full_like(strong[:, :1], 50), 100 * strong], dim=1))
    return (1 + strong) / 2


def _subset(images: Images, count: int, seed: int) -> np.ndarray:
    """A random subset of at most `count` images, in their original order."""
    chosen = numpy_generator(seed, "pictures").permutation(len(images))[:count]
    return np.asarray(images[np.sort(chosen)])


def _floats(images: np.ndarray) -> Tensor:
    return as_float(torch.from_numpy(images))
