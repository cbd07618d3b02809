"""MoCo: contrast two views with a queue of negative keys from a momentum encoder.

He, Fan, Wu, Xie, Girshick. Momentum Contrast for Unsupervised Visual Representation Learning. CVPR 2020; the projection
head and the views of its second version by Chen, Fan, Girshick, He (2020).
"""

import torch
import torch.nn.functional as F
from lightly.models.modules import MoCoProjectionHead
from torch import Tensor

from repflow.augment.policy import Policy, PolicyConfig
from repflow.data.read.batches import Batches
from repflow.encoders import Encoder
from repflow.methods.parts.accuracy import accuracy_with_ties
from repflow.methods.parts.momentum import MomentumNetwork, cosine_momentum
from repflow.methods.parts.queue import FeatureQueue
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
        queue: number of negative keys in the queue.
        momentum: initial momentum of the key encoder; increased to 1 by a cosine schedule.
    """

    augment: PolicyConfig
    temperature: Positive = 0.2
    hidden: Count = 128
    projection: Count = 64
    queue: Count = 4096
    momentum: Fraction = 0.99


class MoCo(EncoderMethod):
    """The encoder with a projection head computes queries, their momentum copies compute keys for the queue."""

    streams = ("unlabelled",)

    def __init__(self, config: Config, encoder: Encoder):
        super().__init__(encoder)
        self.config = config
        self.augment = Policy(config.augment)
        self.projection_head = MoCoProjectionHead(encoder.width, config.hidden, config.projection)
        self.key_encoder = MomentumNetwork(encoder, self.projection_head)
        self.queue = FeatureQueue(config.queue, config.projection)
        self._seen: tuple[Tensor, float] | None = None

    def losses(self, batch: Batches, draw: Draw) -> Losses:
        """InfoNCE of each query with its key, against the queue."""
        images = batch["unlabelled"].images  # [B, C, H, W]
        first, second = (self.augment(images, draw.stream(f"view-{number}")) for number in (1, 2))
        queries = F.normalize(self.projection_head(self.encoder(first)))  # [B, projection]
        keys = F.normalize(self.key_encoder(second))
        self._seen = keys, batch.progress
        positive = (queries * keys).sum(dim=1, keepdim=True)  # [B, 1]
        logits = torch.cat([positive, queries @ self.queue.rows.T], dim=1) / self.config.temperature  # [B, 1 + queue]
        right = torch.zeros(len(logits), dtype=torch.int64, device=logits.device)
        return Losses(F.cross_entropy(logits, right), {"accuracy": accuracy_with_ties(logits, right)})

    def after_step(self) -> None:
        """Update the key encoder and enqueue the keys."""
        assert self._seen is not None
        keys, progress = self._seen
        momentum = cosine_momentum(self.config.momentum, progress)
        self.key_encoder.update(self.encoder, self.projection_head, momentum=momentum)
        self.queue.push(keys)
        self._seen = None
