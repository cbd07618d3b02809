"""Rotation prediction: predict by which multiple of 90 degrees an image was rotated.

Gidaris, Singh, Komodakis. Unsupervised Representation Learning by Predicting Image Rotations. ICLR 2018.
"""

import torch
import torch.nn.functional as F
from torch import nn

from repflow.augment.policy import Policy, PolicyConfig
from repflow.data.read.batches import Batches
from repflow.encoders import Encoder
from repflow.randomness.draws import Draw
from repflow.schema import parameters
from repflow.training.contract import EncoderMethod, Losses


@parameters
class Config:
    """The parameters of rotation prediction.

    Attributes:
        augment: augmentation policy, applied before the rotation.
    """

    augment: PolicyConfig = ()


class Rotation(EncoderMethod):
    """The encoder with a linear classifier of the four rotations."""

    streams = ("unlabelled",)

    def __init__(self, config: Config, encoder: Encoder):
        super().__init__(encoder)
        self.augment = Policy(config.augment)
        self.head = nn.Linear(encoder.width, 4)

    def losses(self, batch: Batches, draw: Draw) -> Losses:
        """Cross-entropy of the four rotations."""
        images = self.augment(batch["unlabelled"].images, draw)  # [B, C, H, W]
        views = torch.cat([images.rot90(turns, (2, 3)) for turns in range(4)])  # [4B, C, H, W]
        turns = torch.arange(4, device=views.device).repeat_interleave(len(images))
        logits = self.head(self.encoder(views))  # [4B, 4]
        return Losses(F.cross_entropy(logits, turns), {"accuracy": (logits.argmax(1) == turns).float().mean()})
