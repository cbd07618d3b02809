"""SimSiam: foretell one view of an image from the other, without negatives, by not letting the target learn.

Chen, He. Exploring Simple Siamese Representation Learning. CVPR 2021.
"""

import torch
from lightly.loss import NegativeCosineSimilarity
from lightly.models.modules import SimSiamPredictionHead, SimSiamProjectionHead

from repflow.augment.policy import Policy, PolicyConfig
from repflow.data.read.batches import Batches
from repflow.encoders import Encoder
from repflow.methods.parts.distributed import gathered
from repflow.randomness.draws import Draw
from repflow.schema import Count, parameters
from repflow.training.contract import EncoderMethod, Losses


@parameters
class Config:
    """SimSiam's parameters.

    Attributes:
        augment: the policy that both views are drawn from.
        projection: width of the projection head's layers.
        bottleneck: width of the predictor's hidden layer; the paper takes a quarter of `projection`.
    """

    augment: PolicyConfig
    projection: Count = 2048
    bottleneck: Count = 512


class SimSiam(EncoderMethod):
    """The encoder below a projection head, and the predictor."""

    streams = ("unlabelled",)

    def __init__(self, config: Config, encoder: Encoder):
        super().__init__(encoder)
        self.augment = Policy(config.augment)
        self.projection_head = SimSiamProjectionHead(encoder.width, config.projection, config.projection)
        self.predictor = SimSiamPredictionHead(config.projection, config.bottleneck, config.projection)
        self.negative_cosine = NegativeCosineSimilarity()

    def losses(self, batch: Batches, draw: Draw) -> Losses:
        """Minus the cosine between each view's prediction and the other view's projection."""
        images = batch["unlabelled"].images  # [B, C, H, W]
        views = [self.augment(images, draw.stream(f"view-{number}")) for number in (1, 2)]
        # A view at a time: the paper's batch statistics are those of one view.
        z1, z2 = (self.projection_head(self.encoder(view)) for view in views)  # [B, projection]
        p1, p2 = self.predictor(z1), self.predictor(z2)
        loss = 0.5 * (self.negative_cosine(p1, z2.detach()) + self.negative_cosine(p2, z1.detach()))
        with torch.no_grad():
            # 1 / sqrt(projection) where features are spread evenly, 0 where they have collapsed.
            spread = torch.nn.functional.normalize(gathered(z1)).std(dim=0).mean()
        return Losses(loss, {"spread": spread})
