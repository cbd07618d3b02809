"""SimCLR: contrast two views of an image with the views of all other images in the batch.

Chen, Kornblith, Norouzi, Hinton. A Simple Framework for Contrastive Learning of Visual Representations. ICML 2020.
"""

import torch
from torch import nn

from repflow.augment.policy import Policy, PolicyConfig
from repflow.data.read.batches import Batches
from repflow.encoders import Encoder
from repflow.methods.parts.nt_xent import NTXent
from repflow.randomness.draws import Draw
from repflow.schema import Count, Positive, parameters
from repflow.training.contract import EncoderMethod, Losses


@parameters
class Config:
    """SimCLR's parameters.

    Attributes:
        augment: augmentation policy of both views.
        temperature: of the NT-Xent loss; a low one emphasises the hardest negatives.
        hidden: width of the projection head's hidden layer.
        projection: dimension of the projections.
    """

    augment: PolicyConfig
    temperature: Positive = 0.5
    hidden: Count = 128
    projection: Count = 64


class SimCLR(EncoderMethod):
    """The encoder with a projection head for the NT-Xent loss."""

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
        self.nt_xent = NTXent(config.temperature)

    def losses(self, batch: Batches, draw: Draw) -> Losses:
        """NT-Xent between the projections of two views."""
        images = batch["unlabelled"].images  # [B, C, H, W]
        views = [self.augment(images, draw.stream(f"view-{number}")) for number in (1, 2)]
        projections = self.projection_head(self.encoder(torch.cat(views)))  # [2B, projection]
        first, second = projections.chunk(2)
        return Losses(self.nt_xent(first, second))
