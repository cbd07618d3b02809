"""Exemplar: each of some images is a class of its own, whose samples are its distortions.

Dosovitskiy, Fischer, Springenberg, Riedmiller, Brox. Discriminative Unsupervised Feature Learning with Exemplar
Convolutional Neural Networks. PAMI 2015.
"""

from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor, nn

from repflow.augment.policy import Policy, PolicyConfig
from repflow.data.read.batches import Batches, Stream
from repflow.encoders import Encoder
from repflow.randomness.draws import Draw, seeded
from repflow.schema import Count, parameters
from repflow.training.contract import EncoderMethod, Losses


@parameters
class Config:
    """Exemplar's parameters.

    Attributes:
        augment: the policy that distorts.
        seeds: images that are classes, drawn evenly; None for all. An image becomes a class that can be learned by
            being seen many times, and among many images there are some that are hardly to be told apart.
    """

    augment: PolicyConfig
    seeds: Count | None = None


class Exemplar(EncoderMethod):
    """The encoder below a linear layer with an output for each seed image."""

    streams = ("unlabelled",)
    seeds: Tensor

    def __init__(self, config: Config, encoder: Encoder):
        super().__init__(encoder)
        self.config = config
        self.augment = Policy(config.augment)

    def begin(self, streams: Mapping[str, Stream], draw: Draw) -> None:
        """Choose the seed images, and make an output for each."""
        self._stream = streams["unlabelled"]
        count = min(self.config.seeds or len(self._stream), len(self._stream))
        self.register_buffer("seeds", draw.permutation(len(self._stream))[:count])  # int64 [N], rows of the stream
        with seeded(draw.seed, "weights/exemplar"):
            self.head = nn.Linear(self.encoder.width, count)

    def losses(self, batch: Batches, draw: Draw) -> Losses:
        """Cross-entropy of which seed image was distorted."""
        # The batch tells which rows it is the turn of, and so, evenly, of which seeds; its images are not all seeds.
        classes = batch["unlabelled"].rows.to(self.seeds.device) % len(self.seeds)  # [B]
        images = self._stream.take(self.seeds[classes].cpu()).images.to(batch["unlabelled"].images)  # [B, C, H, W]
        logits = self.head(self.encoder(self.augment(images, draw.stream("distort"))))  # [B, N]
        return Losses(F.cross_entropy(logits, classes), {"accuracy": (logits.argmax(1) == classes).float().mean()})
