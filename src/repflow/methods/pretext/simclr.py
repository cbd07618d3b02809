"""SimCLR: two views of an image are more alike than views of different images.

Chen, Kornblith, Norouzi, Hinton. A Simple Framework for Contrastive Learning of Visual Representations. ICML 2020.
"""

import torch
from lightly.loss import NTXentLoss
from torch import nn

from repflow.augment.policy import Policy, PolicyConfig
from repflow.data.read.batches import Batches
from repflow.encoders import Encoder
from repflow.randomness.draws import Draw
from repflow.schema import Count, Positive, parameters
from repflow.training.contract import EncoderMethod, Losses


@parameters
class Config:
    """SimCLR's parameters.

    Attributes:
        augment: the policy that both views are drawn from.
        temperature: of the similarities; small looks at the closest negatives only.
        hidden: width of the projection head's hidden layer.
        projection: width of the projections.
    """

    augment: PolicyConfig
    temperature: Positive = 0.5
    hidden: Count = 128
    projection: Count = 64


class SimCLR(EncoderMethod):
    """The encoder below a projection head that the NT-Xent loss is computed on."""

    streams = ("unlabelled",)

    def __init__(self, config: Config, encoder: Encoder):
        super().__init__(encoder)
        self.augment = Policy(config.augment)
        self.projection_head = nn.Sequential(
            nn.Linear(encoder.width, config.hidden, bias=False),
            nn.BatchNorm1d(config.hidden),
            nn.ReLU(inplace=True),
            nn.Linear(config.hidden, config.projection, bias=False),
            nn.BatchNorm1d(config.projection),
        )
        self.nt_xent = NTXentLoss(config.temperature, gather_distributed=torch.distributed.is_available())

    def losses(self, batch: Batches, draw: Draw) -> Losses:
        """NT-Xent between the projections of two views."""
        images = batch["unlabelled"].images  # [B, C, H, W]
        views = [self.augment(images, draw.stream(f"view-{number}")) for number in (1, 2)]
        projections = self.projection_head(self.encoder(torch.cat(views)))  # [2B, projection]
        first, second = projections.chunk(2)
        return Losses(self.nt_xent(first, second))
