"""What can be seen of a trained method: what it makes of images, images that it makes up, its clusters, its filters."""

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
from repflow.evaluation.features import encode
from repflow.evaluation.generation import Generates, as_bytes, made_images
from repflow.evaluation.own_clusters import Clusters, own_clusters
from repflow.randomness.seeds import numpy_generator
from repflow.training.contract import Method

log = logging.getLogger("repflow")

_LINES = 8
_ACROSS = 6
"""Pictures in a line, about."""
_CLUSTERS = 12
_NEAREST = 8
_CLUSTERED = 2048
"""Images of which the nearest are looked for, at most."""
_FILTERS_ACROSS = 16


@runtime_checkable
class Shows(Protocol):
    """What a method whose work can be seen on an image has. Such methods need no other mark."""

    @property
    def columns(self) -> tuple[str, ...]:
        """What each picture of an image shows, in a few words, as ("image", "restored")."""

    def pictures(self, images: Tensor) -> Tensor:
        """Of images [B, C, H, W] in [0, 1], a picture for each of `columns`: [B, columns, C, H, W]."""


@dataclass(frozen=True)
class Sheet:
    """Pictures in lines.

    Attributes:
        name: of its file, "pictures", "samples", "clusters" or "filters"; "pictures.NAME" for a part of the method.
        title: what it is, in a few words.
        caption: what is seen where, in sentences.
        lines: uint8 [n, 1 to 3 channels, h, w] each, of the same height and width.
        group: how many pictures belong together, one beside the other.
        cell: about how many pixels wide each should be drawn.
    """

    name: str
    title: str
    caption: str
    lines: Sequence[np.ndarray]
    group: int = 1
    cell: int = 64


def sheets(method: Method, images: Images, seed: int) -> list[Sheet]:
    """All that can be seen of `method`.

    Args:
        method: that was trained, in evaluation mode on the CPU, in single precision.
        images: that it did not learn from, uint8 [N, C, H, W]; some of them are shown. Without any, only what needs
            none is.
        seed: of the choice of images, and of those that are made up.
    """
    encoder = method.learned
    assert isinstance(encoder, Encoder)
    # What the encoder may have been compiled to was meant for another device and other batches.
    with torch.inference_mode(), torch.compiler.set_stance("force_eager"):
        found = list(_made_up(method, images.shape[2:], seed))
        if len(images):
            found += [*_shown(method, images, seed), *_clusters(method, encoder, images, seed)]
        return found + first_filters(encoder)


def _shown(method: Method, images: Images, seed: int) -> Iterator[Sheet]:
    """What the method, or each task of a mixture, makes of images."""
    for path, part in method.named_modules():
        if not isinstance(part, Shows):
            continue
        group = len(part.columns)
        across = max(1, _ACROSS // group)
        made = as_bytes(part.pictures(_floats(_some(images, across * _LINES, seed))))  # [N, group, C, H, W]
        lines = [made[first : first + across].reshape(-1, *made.shape[2:]) for first in range(0, len(made), across)]
        name = path.rpartition(".")[2]
        title = f"What {name or 'the method'} makes of images"
        caption = f"{len(made)} images that it did not learn from. From the left: {', '.join(part.columns)}."
        yield Sheet(f"pictures.{name}" if name else "pictures", title, caption, lines, group)


def _made_up(method: Method, size: tuple[int, ...], seed: int) -> Iterator[Sheet]:
    if isinstance(method, Generates):
        made = made_images(method, _ACROSS * _LINES, size, seed)
        caption = f"{len(made)} images made of random codes, the first that came."
        yield Sheet("samples", "Images that the method made up", caption, np.split(made, _LINES))


def _clusters(method: Method, encoder: Encoder, images: Images, seed: int) -> Iterator[Sheet]:
    if not isinstance(method, Clusters):
        return
    some = _some(images, _CLUSTERED, seed)
    try:
        found = own_clusters(method, some)
    except ParameterError as error:
        log.info("pretrain: no picture of the clusters: %s", error)
        return
    nearest = nearest_members(found, encode(encoder, some), _CLUSTERS, _NEAREST)
    caption = (
        f"Clusters, a line each: the {len(nearest)} largest of {len(np.unique(found))} among {len(some):,} images that"
        " it did not learn from. In a line stand the images whose features are nearest to the mean of the cluster's,"
        " the nearest first."
    )
    yield Sheet("clusters", "Clusters and their nearest images", caption, [some[rows] for rows in nearest])


def nearest_members(found: np.ndarray, features: np.ndarray, clusters: int, each: int) -> list[np.ndarray]:
    """The members of the largest clusters that are nearest to the mean of all members.

    Args:
        found: the cluster of each image, int64 [N].
        features: float [N, width].
        clusters: at most so many, the largest first.
        each: at most so many members.

    Returns:
        Positions of each cluster's members, the nearest first: int64 [n].
    """
    names, sizes = np.unique(found, return_counts=True)
    exact = features.astype(np.float64)
    nearest = []
    for name in names[np.argsort(-sizes, kind="stable")[:clusters]]:
        members = np.flatnonzero(found == name)
        distances = np.square(exact[members] - exact[members].mean(axis=0)).sum(axis=1)
        nearest.append(members[np.argsort(distances, kind="stable")[:each]])
    return nearest


def first_filters(encoder: Encoder) -> list[Sheet]:
    """The filters of the encoder's first layer, or of those of its halves, as pictures; none where that layer is no
    convolution."""
    parts = encoder.body.values() if isinstance(encoder.body, nn.ModuleDict) else [encoder.body]
    layers = [_first_layer(part) for part in parts]
    filters = [layer.weight for layer in layers if isinstance(layer, nn.Conv2d)]  # [n, C, h, w] each
    if not filters:
        return []
    lines = [as_bytes(_drawn(line)) for each in filters for line in each.split(_FILTERS_ACROSS)]
    height, width = lines[0].shape[2:]
    caption = (
        f"The {sum(map(len, filters))} filters of the first layer, {height} × {width} pixels each, to full contrast. A"
        " filter answers to what looks like it; grey counts for nothing."
    )
    return [Sheet("filters", "Filters of the encoder's first layer", caption, lines, cell=32)]


def _first_layer(body: nn.Module) -> nn.Module | None:
    """The first module that has weights and no parts."""
    return next((each for each in body.modules() if not list(each.children()) and list(each.parameters())), None)


def _drawn(weight: Tensor) -> Tensor:
    """Filters [n, C, h, w] as pictures [n, 1 or 3, h, w] in [0, 1], each as strong as its largest weight allows.

    Two channels are a and b of CIELAB, at half lightness.
    """
    strong = weight.float() / weight.float().abs().amax(dim=(1, 2, 3), keepdim=True).clamp(min=1e-12)  # [-1, 1]
    if weight.shape[1] == 2:
        return lab_to_rgb(torch.cat([torch.full_like(strong[:, :1], 50), 100 * strong], dim=1))
    return (1 + strong) / 2


def _some(images: Images, count: int, seed: int) -> np.ndarray:
    """At most `count` of the images, in their order."""
    chosen = numpy_generator(seed, "pictures").permutation(len(images))[:count]
    return np.asarray(images[np.sort(chosen)])


def _floats(images: np.ndarray) -> Tensor:
    return as_float(torch.from_numpy(images))
