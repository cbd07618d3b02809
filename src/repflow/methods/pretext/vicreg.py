"""VICReg: make two views' embeddings similar, with variance and covariance regularisation against collapse.

Bardes, Ponce, LeCun. VICReg: Variance-Invariance-Covariance Regularization for Self-Supervised Learning. ICLR 2022.
"""

import torch
import torch.nn.functional as F
from lightly.models.modules.heads import ProjectionHead
from lightly.utils.dist import gather, world_size
from torch import Tensor, nn

from repflow.augment.policy import Policy, PolicyConfig
from repflow.data.read.batches import Batches
from repflow.encoders import Encoder
from repflow.hardware.portable_math import square_root
from repflow.methods.parts.off_diagonal import off_diagonal
from repflow.randomness.draws import Draw
from repflow.schema import Count, NonNegative, parameters
from repflow.training.contract import EncoderMethod, Losses

EPSILON = 1e-4
"""Added to variances, so that the gradient of a deviation stays finite where a feature does not vary; the paper's."""


@parameters
class Config:
    """VICReg's parameters.

    Attributes:
        augment: augmentation policy of the first view.
        second: augmentation policy of the second view.
        invariance: weight of the squared distance between the views (the paper's lambda).
        variance: weight of the hinge loss on each dimension's standard deviation below 1 (mu).
        covariance: weight of the squared off-diagonal covariances (nu).
        hidden: width of the projection head's two hidden layers.
        projection: dimension of the embeddings.
    """

    augment: PolicyConfig
    second: PolicyConfig
    invariance: NonNegative = 25.0
    variance: NonNegative = 25.0
    covariance: NonNegative = 1.0
    hidden: Count = 512
    projection: Count = 512


class VICReg(EncoderMethod):
    """The encoder with a projection head; its last layer has no bias, to which the loss is invariant."""

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
        self.config = config

    def losses(self, batch: Batches, draw: Draw) -> Losses:
        """The weighted sum of the three terms."""
        images = batch["unlabelled"].images  # [B, C, H, W]
        views = [policy(images, draw.stream(f"view-{number}")) for number, policy in enumerate(self.policies, 1)]
        # One view at a time, as batch normalisation is per view in the paper.
        first, second = (self.projection_head(self.encoder(view)) for view in views)  # [B, projection]
        invariance = F.mse_loss(first, second)
        if world_size() > 1:  # variance and covariance are those of the global batch
            first, second = (torch.cat(gather(each)) for each in (first, second))
        variance = 0.5 * (variance_loss(first) + variance_loss(second))
        covariance = covariance_loss(first) + covariance_loss(second)
        weights = self.config
        return Losses(weights.invariance * invariance + weights.variance * variance + weights.covariance * covariance)


def variance_loss(projections: Tensor) -> Tensor:
    """What the standard deviations of projections [B, projection] over the batch lack to 1, on average: a scalar."""
    deviations = square_root(projections.var(dim=0) + EPSILON)
    return F.relu(1 - deviations).mean()


def covariance_loss(projections: Tensor) -> Tensor:
    """The squared covariances of different dimensions of projections [B, projection], over the dimensions: a scalar."""
    centred = projections - projections.mean(dim=0)
    covariances = torch.einsum("bc,bd->cd", centred, centred) / (len(projections) - 1)
    return off_diagonal(covariances).flatten().pow(2).sum() / projections.shape[1]
