"""Jigsaw: predict the permutation by which an image's tiles were shuffled.

Noroozi, Favaro. Unsupervised Learning of Visual Representations by Solving Jigsaw Puzzles. ECCV 2016.
"""

import itertools
from functools import lru_cache
from typing import Annotated

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from repflow.augment.policy import Policy, PolicyConfig
from repflow.data.read.batches import Batches
from repflow.encoders import Encoder
from repflow.methods.parts.tiles import TILES, assemble, cut_tiles, of_tiles, permuted, prepared
from repflow.randomness.draws import Draw
from repflow.schema import Count, Fraction, parameters
from repflow.training.contract import EncoderMethod, Losses


@parameters
class Config:
    """The jigsaw's parameters.

    Attributes:
        augment: augmentation policy.
        augment_colours: what follows it, against shortcuts: channels moved against each other, some images grey.
        permutations: number of permutations, chosen for large Hamming distances.
        tile: side of a tile as a fraction of its cell's in a 3x3 grid; placed at random, as adjacent edges would match.
        side: pixels to which tiles are resized.
        normalise: standardise every tile, so that mean and contrast do not reveal neighbours. An encoder of tiles does
            it by its own setting.
        tile_width: width of the layer applied to each tile's features.
        hidden: width of the hidden layer for all tiles.
    """

    augment: PolicyConfig = ()
    augment_colours: PolicyConfig = ()
    permutations: Annotated[int, Field(ge=2, le=1000)] = 100
    tile: Fraction = 0.8
    side: Count = 16
    normalise: bool = True
    tile_width: Count = 64
    hidden: Count = 256


class Jigsaw(EncoderMethod):
    """The context-free network: tiles are encoded independently and combined in the head."""

    streams = ("unlabelled",)
    columns = ("image", "shuffled tiles", "solution")
    permutations: Tensor

    def __init__(self, config: Config, encoder: Encoder):
        super().__init__(encoder)
        self.config = config
        self.augment, self.augment_colours = Policy(config.augment), Policy(config.augment_colours)
        self.register_buffer("permutations", torch.tensor(distant_permutations(TILES, config.permutations)))  # [P, 9]
        self.tile_head = nn.Sequential(nn.Linear(encoder.width, config.tile_width), nn.ReLU(inplace=True))
        self.head = nn.Sequential(
            nn.Linear(TILES * config.tile_width, config.hidden),
            nn.ReLU(inplace=True),
            nn.Linear(config.hidden, config.permutations),
        )

    def losses(self, batch: Batches, draw: Draw) -> Losses:
        """Cross-entropy of the permutation."""
        tiles, which = self.puzzle(self.augmented(batch, draw), draw)
        logits = self.solve(tiles)  # [B, P]
        return Losses(F.cross_entropy(logits, which), {"accuracy": (logits.argmax(1) == which).float().mean()})

    def augmented(self, batch: Batches, draw: Draw) -> Tensor:
        """The batch's images [B, C, H, W] by both policies."""
        images = self.augment(batch["unlabelled"].images, draw.stream("augment"))
        return self.augment_colours(images, draw.stream("colours"))

    def puzzle(self, images: Tensor, draw: Draw) -> tuple[Tensor, Tensor]:
        """Shuffled tiles [B, 9, C, side, side] of images, and indices of their permutations: int64 [B]."""
        config = self.config
        tiles = cut_tiles(images, config.tile, 1.0, config.side, draw.stream("tiles"))
        which = draw.stream("permutation").integers(len(images), high=config.permutations).to(images.device)
        return permuted(tiles, self.permutations[which]), which

    def solve(self, tiles: Tensor) -> Tensor:
        """Logits [B, P] of the permutations of shuffled tiles [B, 9, C, side, side]."""
        seen = prepared(self.encoder, tiles.flatten(0, 1), self.config.normalise)
        features = self.tile_head(of_tiles(self.encoder)(seen))  # [9B, tile_width]
        logits: Tensor = self.head(features.unflatten(0, (-1, TILES)).flatten(1))
        return logits

    @torch.no_grad()
    def figures(self, images: Tensor) -> Tensor:
        """Images [B, C, H, W], shuffled tiles, and the network's solutions: [B, 3, C, H, W]."""
        tiles, _ = self.puzzle(images, Draw(0, "pictures", device=images.device))
        solved = permuted(tiles, self.permutations[self.solve(tiles).argmax(1)].argsort(dim=1))
        size = images.shape[2:]
        return torch.stack([images, assemble(tiles, size), assemble(solved, size)], dim=1)


@lru_cache
def distant_permutations(elements: int, count: int) -> tuple[tuple[int, ...], ...]:
    """Permutations with large Hamming distances between them.

    The greedy Algorithm 1 of the paper: always add the permutation that is farthest from those chosen before. The
    distance to the nearest of them comes first, as the sums of distances are nearly all equal.

    Args:
        elements: number of elements, at most about 9, as all permutations are enumerated.
        count: number of permutations, at most `elements`!; the first is the identity.
    """
    every = np.array(list(itertools.permutations(range(elements))), dtype=np.int8)  # [elements!, elements]
    nearest, summed = np.full(len(every), elements), np.zeros(len(every), dtype=np.int64)
    chosen = [0]
    while len(chosen) < count:
        distances = (every != every[chosen[-1]]).sum(axis=1)
        nearest, summed = np.minimum(nearest, distances), summed + distances
        chosen.append(int(np.argmax(nearest * (elements * count + 1) + summed)))
    return tuple(map(tuple, every[chosen].tolist()))
