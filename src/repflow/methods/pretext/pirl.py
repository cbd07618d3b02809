"""PIRL: contrastive learning of an image and its jigsaw puzzle, with a memory bank of negatives.

Misra, van der Maaten. Self-Supervised Learning of Pretext-Invariant Representations. CVPR 2020.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from repflow.augment.policy import Policy, PolicyConfig
from repflow.data.read.batches import Batches, Stream
from repflow.encoders import Encoder
from repflow.methods.parts.memory_bank import MemoryBank
from repflow.methods.parts.tiles import TILES, cut_tiles, permuted
from repflow.randomness.draws import Draw
from repflow.schema import Count, Fraction, Positive, parameters
from repflow.training.contract import EncoderMethod, Losses


@parameters
class Config:
    """PIRL's parameters.

    Attributes:
        augment: augmentation policy, applied independently to the image and to the one that is cut into tiles.
        tile: side of a tile as a fraction of its cell's in a 3x3 grid; at a random position.
        side: pixels to which tiles are resized.
        width: dimension of the embeddings.
        temperature: of the contrastive losses.
        negatives: number of negatives from the memory bank.
        momentum: weight of the stored feature when it is updated with a new one.
        balance: weight of the puzzle's loss; that of the image's is 1 - balance.
    """

    augment: PolicyConfig
    tile: Fraction = 0.85
    side: Count = 16
    width: Count = 128
    temperature: Positive = 0.07
    negatives: Count = 4096
    momentum: Fraction = 0.5
    balance: Fraction = 0.5


class PIRL(EncoderMethod):
    """The encoder with a head for images and one for puzzles, and the memory bank."""

    streams = ("unlabelled",)
    memory: MemoryBank

    def __init__(self, config: Config, encoder: Encoder):
        super().__init__(encoder)
        self.config = config
        self.augment = Policy(config.augment)
        self.image_head = nn.Linear(encoder.width, config.width)  # f
        self.tile_head = nn.Linear(encoder.width, config.width)  # g, first each tile ...
        self.puzzle_head = nn.Linear(TILES * config.width, config.width)  # ... then all of them

    def begin(self, streams: Mapping[str, Stream], draw: Draw) -> None:
        """Allocate the memory bank."""
        self.memory = MemoryBank(len(streams["unlabelled"]), self.config.width, self.config.momentum)

    def refresh(self, step: int, streams: Mapping[str, Stream], draw: Draw) -> None:
        """Fill the memory bank before the first step."""
        if step == 0:
            self.memory.fill(streams["unlabelled"], self.encoder, self.image_head)

    def losses(self, batch: Batches, draw: Draw) -> Losses:
        """Noise-contrastive losses of puzzle and image, each with the image's entry in the memory bank as positive."""
        bank = self.memory.bank
        rows, images = batch["unlabelled"].rows.to(bank.device), batch["unlabelled"].images
        image = F.normalize(self.image_head(self.encoder(self.augment(images, draw.stream("image")))))  # [B, width]
        puzzle = self.puzzle(self.augment(images, draw.stream("puzzle")), draw.stream("tiles"))  # [B, width]
        self.memory.observe(rows, image)
        # Negatives are other images: a random offset from 1 to N - 1 is added to the image's own row.
        steps = draw.stream("negatives").integers(len(rows), self.config.negatives, low=1, high=len(bank))
        picked = bank[torch.cat([rows[:, None], (rows[:, None] + steps) % len(bank)], dim=1)]
        of_puzzle, of_image = (self.contrast(each, picked) for each in (puzzle, image))
        total = self.config.balance * of_puzzle + (1 - self.config.balance) * of_image
        return Losses(total, {"puzzle": of_puzzle, "image": of_image})

    def puzzle(self, images: Tensor, draw: Draw) -> Tensor:
        """The L2-normalised embedding of each image's tiles in a random order: [B, width]."""
        tiles = cut_tiles(images, self.config.tile, 1.0, self.config.side, draw.stream("cut"))  # [B, 9, C, side, side]
        order = draw.stream("order").uniform(len(images), TILES).argsort(dim=1)  # [B, 9]
        tokens = self.tile_head(self.encoder(tiles.flatten(0, 1))).unflatten(0, (-1, TILES))  # [B, 9, width]
        return F.normalize(self.puzzle_head(permuted(tokens, order).flatten(1)))

    def contrast(self, features: Tensor, picked: Tensor) -> Tensor:
        """The paper's equation 4: −log h of the image's own memory − Σ log (1 − h) of the others'.

        Args:
            features: [B, width], L2-normalised.
            picked: memory bank entries [B, 1 + negatives, width], the positive first.
        """
        scores = torch.einsum("bw,bnw->bn", features, picked) / self.config.temperature
        log_h = scores.to(picked).log_softmax(dim=1)  # [B, 1 + negatives]
        others = torch.log1p(-log_h[:, 1:].exp().clamp(max=1 - 1e-6))
        return -(log_h[:, 0] + others.sum(dim=1)).mean()

    def after_step(self) -> None:
        """Update the memory bank."""
        self.memory.update()
