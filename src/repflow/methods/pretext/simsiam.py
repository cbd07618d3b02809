"""SimSiam: predict the projection of one view from the other, with a stop-gradient and without negative pairs.

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
        augment: augmentation policy of both views.
        projection: width of the projection head's layers.
        bottleneck: width of the predictor's hidden layer; the paper takes a quarter of `projection`.
    """

    augment: PolicyConfig
    projection: Count = 2048
    bottleneck: Count = 512


class SimSiam(EncoderMethod):
    """The encoder with a projection head, and the predictor."""

    streams = ("unlabelled",)

    def __init__(self, config: Config, encoder: Encoder):
        super().__init__(encoder)
        self.augment = Policy(config.augment)
        self.projection_head = SimSiamProjectionHead(encoder.width, config.projection, config.projection)
        self.predictor = SimSiamPredictionHead(config.projection, config.bottleneck, config.projection)
        self.negative_cosine = NegativeCosineSimilarity()

    def losses(self, batch: Batches, draw: Draw) -> Losses:
        """Negative cosine similarity of each view's prediction and the other view's projection, with stop-gradient."""
        images = batch["unlabelled"].images  # [B, C, H, W]
        views = [self.augment(images, draw.stream(f"view-{number}")) for number in (1, 2)]
        # One view at a time, as batch normalisation is per view in the paper.
        z1, z2 = (self.projection_head(self.encoder(view)) for view in views)  # [B, projection]
        p1, p2 = self.predictor(z1), self.predictor(z2)
        loss = 0.5 * (self.negative_cosine(p1, z2.detach()) + self.negative_cosine(p2, z1.detach()))
        with torch.no_grad():
            # Collapse indicator: 1 / sqrt(projection) for uniformly spread features, 0 after collapse.
            spread = torch.nn.functional.normalize(gathered(z1)).std(dim=0).mean()
        return Losses(loss, {"spread": spread})
