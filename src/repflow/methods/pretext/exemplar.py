"""Exemplar: classify augmented images by the image they come from; every seed image is a class.

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
        augment: augmentation policy.
        seeds: number of seed images, drawn at random; None for all images. With many seeds each is seen less often, and
            more of them are nearly identical.
    """

    augment: PolicyConfig
    seeds: Count | None = None


class Exemplar(EncoderMethod):
    """The encoder with a linear classifier of the seed images."""

    streams = ("unlabelled",)
    seeds: Tensor

    def __init__(self, config: Config, encoder: Encoder):
        super().__init__(encoder)
        self.config = config
        self.augment = Policy(config.augment)

    def begin(self, streams: Mapping[str, Stream], draw: Draw) -> None:
        """Draw the seed images and create the classifier."""
        self._stream = streams["unlabelled"]
        count = min(self.config.seeds or len(self._stream), len(self._stream))
        self.register_buffer("seeds", draw.permutation(len(self._stream))[:count])  # int64 [N], rows of the stream
        with seeded(draw.seed, "weights/exemplar"):
            self.head = nn.Linear(self.encoder.width, count)

    def losses(self, batch: Batches, draw: Draw) -> Losses:
        """Cross-entropy of the seed image's class."""
        # The batch's row numbers choose the seed images, each equally often; the batch's own images are not used.
        classes = batch["unlabelled"].rows.to(self.seeds.device) % len(self.seeds)  # [B]
        images = self._stream.take(self.seeds[classes]).images.to(batch["unlabelled"].images)  # [B, C, H, W]
        logits = self.head(self.encoder(self.augment(images, draw.stream("distort"))))  # [B, N]
        return Losses(F.cross_entropy(logits, classes), {"accuracy": (logits.argmax(1) == classes).float().mean()})
