"""Jigsaw: tell by which permutation an image's tiles were shuffled.

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
from repflow.methods.parts.tiles import TILES, rearranged, standardised, tiles_of, together
from repflow.randomness.draws import Draw
from repflow.schema import Count, Fraction, parameters
from repflow.training.contract import EncoderMethod, Losses


@parameters
class Config:
    """The jigsaw's parameters.

    Attributes:
        augment: the policy that makes the image.
        permutations: how many there are to choose from; they differ in as many places as can be.
        tile: a tile's share of the side of its cell in a 3x3 grid; it lies anywhere in it, so that edges do not fit.
        side: pixels of a tile as the encoder sees it.
        normalise: give every tile the same mean and contrast, so that neighbours cannot be known by them.
        tile_width: of the layer above the encoder that sees one tile.
        hidden: width of the layer that sees all tiles.
    """

    augment: PolicyConfig = ()
    permutations: Annotated[int, Field(ge=2, le=1000)] = 100
    tile: Fraction = 0.8
    side: Count = 16
    normalise: bool = True
    tile_width: Count = 64
    hidden: Count = 256


class Jigsaw(EncoderMethod):
    """The context-free network: no layer sees two tiles before those above the encoder do."""

    streams = ("unlabelled",)
    columns = ("image", "shuffled tiles", "put together again")
    permutations: Tensor

    def __init__(self, config: Config, encoder: Encoder):
        super().__init__(encoder)
        self.config = config
        self.augment = Policy(config.augment)
        self.register_buffer("permutations", torch.tensor(distant_permutations(TILES, config.permutations)))  # [P, 9]
        self.tile_head = nn.Sequential(nn.Linear(encoder.width, config.tile_width), nn.ReLU(inplace=True))
        self.head = nn.Sequential(
            nn.Linear(TILES * config.tile_width, config.hidden),
            nn.ReLU(inplace=True),
            nn.Linear(config.hidden, config.permutations),
        )

    def losses(self, batch: Batches, draw: Draw) -> Losses:
        """Cross-entropy of the permutation."""
        images = self.augment(batch["unlabelled"].images, draw.stream("augment"))  # [B, C, H, W]
        tiles, which = self.puzzle(images, draw)
        logits = self.solve(tiles)  # [B, P]
        return Losses(F.cross_entropy(logits, which), {"accuracy": (logits.argmax(1) == which).float().mean()})

    def puzzle(self, images: Tensor, draw: Draw) -> tuple[Tensor, Tensor]:
        """Shuffled tiles [B, 9, C, side, side] of images, and by which permutations: int64 [B]."""
        config = self.config
        tiles = tiles_of(images, config.tile, 1.0, config.side, draw.stream("tiles"))
        which = draw.stream("permutation").integers(len(images), high=config.permutations).to(images.device)
        return rearranged(tiles, self.permutations[which]), which

    def solve(self, tiles: Tensor) -> Tensor:
        """Logits [B, P] of the permutations of shuffled tiles [B, 9, C, side, side]."""
        features = self.tile_head(self.encoder(self.seen(tiles).flatten(0, 1)))  # [9B, tile_width]
        logits: Tensor = self.head(features.unflatten(0, (-1, TILES)).flatten(1))
        return logits

    def seen(self, tiles: Tensor) -> Tensor:
        """Tiles as the encoder takes them."""
        return standardised(tiles) * self.encoder.std + self.encoder.mean if self.config.normalise else tiles

    @torch.no_grad()
    def pictures(self, images: Tensor) -> Tensor:
        """Images [B, C, H, W], their shuffled tiles, and these as the network puts them together: [B, 3, C, H, W]."""
        tiles, _ = self.puzzle(images, Draw(0, "pictures", device=images.device))
        solved = rearranged(tiles, self.permutations[self.solve(tiles).argmax(1)].argsort(dim=1))
        size = images.shape[2:]
        return torch.stack([images, together(tiles, size), together(solved, size)], dim=1)


@lru_cache
def distant_permutations(things: int, count: int) -> tuple[tuple[int, ...], ...]:
    """Permutations that are hard to mistake for one another.

    The greedy choice of the paper's Algorithm 1, which always takes the one that is farthest, by Hamming distance, from
    those before; by the distance to the nearest of them first, as in sum nearly all are equally far.

    Args:
        things: that are permuted, at most about 9 as all permutations are looked at.
        count: how many to choose, at most `things`!; the first is the identity.
    """
    every = np.array(list(itertools.permutations(range(things))), dtype=np.int8)  # [things!, things]
    nearest, summed = np.full(len(every), things), np.zeros(len(every), dtype=np.int64)
    chosen = [0]
    while len(chosen) < count:
        distances = (every != every[chosen[-1]]).sum(axis=1)
        nearest, summed = np.minimum(nearest, distances), summed + distances
        chosen.append(int(np.argmax(nearest * (things * count + 1) + summed)))
    return tuple(map(tuple, every[chosen].tolist()))
