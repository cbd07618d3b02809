"""BYOL: predict a momentum encoder's projection of another view, without negative pairs.

Grill et al. Bootstrap Your Own Latent: A New Approach to Self-Supervised Learning. NeurIPS 2020.
"""

from lightly.loss import NegativeCosineSimilarity
from lightly.models.modules import BYOLPredictionHead, BYOLProjectionHead

from repflow.augment.policy import Policy, PolicyConfig
from repflow.data.read.batches import Batches
from repflow.encoders import Encoder
from repflow.methods.parts.momentum import MomentumNetwork, cosine_momentum
from repflow.randomness.draws import Draw
from repflow.schema import Count, Fraction, parameters
from repflow.training.contract import EncoderMethod, Losses


@parameters
class Config:
    """BYOL's parameters.

    Attributes:
        augment: augmentation policy of the first view.
        second: augmentation policy of the second view.
        hidden: width of the heads' hidden layers.
        projection: dimension of the projections.
        momentum: initial momentum of the target network; increased to 1 by a cosine schedule.
    """

    augment: PolicyConfig
    second: PolicyConfig
    hidden: Count = 256
    projection: Count = 64
    momentum: Fraction = 0.99


class BYOL(EncoderMethod):
    """The online network (encoder, projection head, prediction head), and the target network (momentum copies of the
    first two)."""

    streams = ("unlabelled",)

    def __init__(self, config: Config, encoder: Encoder):
        super().__init__(encoder)
        self.config = config
        self.policies = Policy(config.augment), Policy(config.second)
        self.projection_head = BYOLProjectionHead(encoder.width, config.hidden, config.projection)
        self.prediction_head = BYOLPredictionHead(config.projection, config.hidden, config.projection)
        self.target = MomentumNetwork(encoder, self.projection_head)
        self.similarity = NegativeCosineSimilarity()
        self._progress = 0.0

    def losses(self, batch: Batches, draw: Draw) -> Losses:
        """Squared distance, 2 - 2 cos, between each view's normalised prediction and the other view's target."""
        images = batch["unlabelled"].images  # [B, C, H, W]
        views = [policy(images, draw.stream(f"view-{number}")) for number, policy in enumerate(self.policies, 1)]
        # One view at a time, as batch normalisation is per view in the paper; the target's, too.
        first, second = (self.prediction_head(self.projection_head(self.encoder(view))) for view in views)
        target_of_first, target_of_second = (self.target(view) for view in views)
        self._progress = batch.progress
        opposed = self.similarity(first, target_of_second) + self.similarity(second, target_of_first)
        return Losses(4 + 2 * opposed)

    def after_step(self) -> None:
        """Update the target network."""
        momentum = cosine_momentum(self.config.momentum, self._progress)
        self.target.update(self.encoder, self.projection_head, momentum=momentum)
