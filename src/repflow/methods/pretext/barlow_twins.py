"""Barlow Twins: make the cross-correlation matrix of two views' embeddings the identity.

Zbontar, Jing, Misra, LeCun, Deny. Barlow Twins: Self-Supervised Learning via Redundancy Reduction. ICML 2021.
"""

import torch
from lightly.loss import BarlowTwinsLoss
from lightly.models.modules.heads import ProjectionHead
from lightly.utils.dist import gather, world_size
from torch import nn

from repflow.augment.policy import Policy, PolicyConfig
from repflow.data.read.batches import Batches
from repflow.encoders import Encoder
from repflow.randomness.draws import Draw
from repflow.schema import Count, Positive, parameters
from repflow.training.contract import EncoderMethod, Losses


@parameters
class Config:
    """The parameters of Barlow Twins.

    Attributes:
        augment: augmentation policy of the first view.
        second: augmentation policy of the second view.
        redundancy: weight of the off-diagonal terms (the paper's lambda). Chance correlations have the same share of
            the loss where it goes with batch size / `projection`; the paper has 0.0051 for 2048 / 8192.
        hidden: width of the projection head's two hidden layers.
        projection: dimension of the embeddings.
    """

    augment: PolicyConfig
    second: PolicyConfig
    redundancy: Positive = 0.005
    hidden: Count = 512
    projection: Count = 512


class BarlowTwins(EncoderMethod):
    """The encoder with a projection head; its last layer has no bias, as the batch mean is subtracted afterwards."""

    streams = ("unlabelled",)

    def __init__(self, config: Config, encoder: Encoder):
        super().__init__(encoder)
        self.policies = Policy(config.augment), Policy(config.second)
        self.projection_head = ProjectionHead(
            [
                (encoder.width, config.hidden, nn.BatchNorm1d(config.hidden), nn.ReLU()),
                (config.hidden, config.hidden, nn.BatchNorm1d(config.hidden), nn.ReLU()),
                (config.hidden, config.projection, None, None, False),
            ]
        )
        self.correlation = BarlowTwinsLoss(config.redundancy)

    def losses(self, batch: Batches, draw: Draw) -> Losses:
        """Squared difference between cross-correlation and identity matrix, with weighted off-diagonal terms."""
        images = batch["unlabelled"].images  # [B, C, H, W]
        views = [policy(images, draw.stream(f"view-{number}")) for number, policy in enumerate(self.policies, 1)]
        # One view at a time, as batch normalisation is per view in the paper.
        projections = [self.projection_head(self.encoder(view)) for view in views]  # [B, projection] each
        if world_size() > 1:  # lightly's own gathering normalises by each process's statistics, not the global batch's
            projections = [torch.cat(gather(each)) for each in projections]
        return Losses(self.correlation(*projections))
