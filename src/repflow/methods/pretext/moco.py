"""MoCo: contrast two views with a queue of negative keys from a momentum encoder.

He, Fan, Wu, Xie, Girshick. Momentum Contrast for Unsupervised Visual Representation Learning. CVPR 2020; the projection
head and the views of its second version by Chen, Fan, Girshick, He (2020).

Beyond the paper, whose queue is a twentieth of its images: where a queue holds most images, an image's own older key
would be a negative of it. Every key has the index of its image, and own keys are left out.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from lightly.models.modules import MoCoProjectionHead
from torch import Tensor

from repflow.augment.policy import Policy, PolicyConfig
from repflow.data.read.batches import Batches, Stream
from repflow.encoders import Encoder
from repflow.methods.parts.accuracy import accuracy_with_ties
from repflow.methods.parts.batch_statistics import uses_batch_statistics
from repflow.methods.parts.momentum import MomentumNetwork
from repflow.methods.parts.queue import KeyQueue
from repflow.methods.parts.shuffled_groups import in_groups, in_shuffled_groups
from repflow.randomness.draws import Draw
from repflow.schema import Count, Fraction, Positive, parameters
from repflow.training.contract import EncoderMethod, Losses


@parameters
class Config:
    """MoCo's parameters.

    Attributes:
        augment: augmentation policy of both views.
        temperature: of the InfoNCE loss.
        hidden: width of the projection head's hidden layer.
        projection: dimension of the projections.
        queue: number of negative keys in the queue; at most the number of training images.
        momentum: of the key encoder, constant.
        groups: of a batch, each with batch statistics of its own, in an encoder with batch normalisation; keys are
            shuffled before they are divided. Without effect on other encoders.
    """

    augment: PolicyConfig
    temperature: Positive = 0.2
    hidden: Count = 128
    projection: Count = 64
    queue: Count = 4096
    momentum: Fraction = 0.99
    groups: Count = 4


class MoCo(EncoderMethod):
    """The encoder with a projection head computes queries, their momentum copies compute keys for the queue."""

    streams = ("unlabelled",)

    def __init__(self, config: Config, encoder: Encoder):
        super().__init__(encoder)
        self.config = config
        self.augment = Policy(config.augment)
        self.projection_head = MoCoProjectionHead(encoder.width, config.hidden, config.projection)
        self.key_encoder = MomentumNetwork(encoder, self.projection_head)
        self.queue = KeyQueue(config.queue, config.projection)
        self._in_groups = uses_batch_statistics(encoder)
        self._seen: tuple[Tensor, Tensor] | None = None

    def begin(self, streams: Mapping[str, Stream], draw: Draw) -> None:
        """Bound the queue by the number of images."""
        self.queue.bound(len(streams["unlabelled"]))

    def losses(self, batch: Batches, draw: Draw) -> Losses:
        """InfoNCE of each query with its key, against the keys of other images in the queue."""
        images, rows = batch["unlabelled"].images, batch["unlabelled"].rows  # [B, C, H, W], [B]
        first, second = (self.augment(images, draw.stream(f"view-{number}")) for number in (1, 2))
        queries = F.normalize(self.queries(first))  # [B, projection]
        keys = F.normalize(self.keys(second, draw.stream("shuffle")))
        self._seen = keys, rows
        positive = (queries * keys).sum(dim=1, keepdim=True)  # [B, 1]
        negative = (queries @ self.queue.rows.T).masked_fill(~self.queue.negatives(rows), -torch.inf)  # [B, queue]
        logits = torch.cat([positive, negative], dim=1) / self.config.temperature
        right = torch.zeros(len(logits), dtype=torch.int64, device=logits.device)
        return Losses(F.cross_entropy(logits, right), {"accuracy": accuracy_with_ties(logits, right)})

    def queries(self, views: Tensor) -> Tensor:
        """Projections of views [B, C, H, W]: [B, projection]."""
        if not self._in_groups:
            return self._query(views)
        return in_groups(self._query, views, self.config.groups)

    def _query(self, views: Tensor) -> Tensor:
        projections: Tensor = self.projection_head(self.encoder(views))
        return projections

    def keys(self, views: Tensor, draw: Draw) -> Tensor:
        """The momentum copies' projections of views [B, C, H, W], without gradients: [B, projection]."""
        if not self._in_groups:
            return self.key_encoder.forward(views)
        return in_shuffled_groups(self.key_encoder, views, self.config.groups, draw)

    def after_step(self) -> None:
        """Update the key encoder and enqueue the keys."""
        assert self._seen is not None
        self.key_encoder.update(self.encoder, self.projection_head, momentum=self.config.momentum)
        self.queue.enqueue(*self._seen)
        self._seen = None
