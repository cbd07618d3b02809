"""MoCo: a view is told from a queue of earlier images' views, which a slowly moving encoder makes.

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
from repflow.methods.parts.momentum import MomentumNetwork, cosine_momentum
from repflow.methods.parts.queue import FeatureQueue
from repflow.randomness.draws import Draw
from repflow.schema import Count, Fraction, Positive, parameters
from repflow.training.contract import EncoderMethod, Losses


@parameters
class Config:
    """MoCo's parameters.

    Attributes:
        augment: the policy that both views are drawn from.
        temperature: of the similarities.
        hidden: width of the projection head's hidden layer.
        projection: width of the projections.
        queue: how many keys are remembered as negatives.
        momentum: of the key encoder at the start of training; it rises to 1 along a cosine.
    """

    augment: PolicyConfig
    temperature: Positive = 0.2
    hidden: Count = 128
    projection: Count = 64
    queue: Count = 4096
    momentum: Fraction = 0.99


class MoCo(EncoderMethod):
    """The encoder and a projection head make queries; slow copies of both make keys, which a queue remembers."""

    streams = ("unlabelled",)

    def __init__(self, config: Config, encoder: Encoder):
        super().__init__(encoder)
        self.config = config
        self.augment = Policy(config.augment)
        self.projection_head = MoCoProjectionHead(encoder.width, config.hidden, config.projection)
        self.slow = MomentumNetwork(encoder, self.projection_head)
        self.queue = FeatureQueue(config.queue, config.projection)
        self._seen: tuple[Tensor, float] | None = None

    def losses(self, batch: Batches, draw: Draw) -> Losses:
        """InfoNCE of each query with its key, against the queue."""
        images = batch["unlabelled"].images  # [B, C, H, W]
        first, second = (self.augment(images, draw.stream(f"view-{number}")) for number in (1, 2))
        queries = F.normalize(self.projection_head(self.encoder(first)))  # [B, projection]
        keys = F.normalize(self.slow(second))
        self._seen = keys, batch.progress
        positive = (queries * keys).sum(dim=1, keepdim=True)  # [B, 1]
        logits = torch.cat([positive, queries @ self.queue.rows.T], dim=1) / self.config.temperature  # [B, 1 + queue]
        right = torch.zeros(len(logits), dtype=torch.int64, device=logits.device)
        accuracy = (logits.argmax(dim=1) == 0).float().mean()
        return Losses(F.cross_entropy(logits, right), {"accuracy": accuracy})

    def after_step(self) -> None:
        """Move the key encoder, and let the queue go on."""
        assert self._seen is not None
        keys, progress = self._seen
        momentum = cosine_momentum(self.config.momentum, progress)
        self.slow.follow(self.encoder, self.projection_head, momentum=momentum)
        self.queue.push(keys)
        self._seen = None
