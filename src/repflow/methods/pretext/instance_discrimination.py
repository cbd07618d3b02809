"""Instance discrimination: tell every image from every other, by a memory of all of them.

Wu, Xiong, Yu, Lin. Unsupervised Feature Learning via Non-Parametric Instance Discrimination. CVPR 2018.
"""

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from repflow.augment.policy import Policy, PolicyConfig
from repflow.data.read.batches import Batches, Stream
from repflow.encoders import Encoder
from repflow.methods.parts.distributed import gathered
from repflow.methods.parts.memory import Memory
from repflow.randomness.draws import Draw
from repflow.schema import Count, Fraction, NonNegative, Positive, parameters
from repflow.training.contract import EncoderMethod, Losses


@parameters
class Config:
    """The parameters of instance discrimination.

    Attributes:
        augment: the policy that makes the view.
        temperature: of the softmax over all images.
        width: of the remembered features.
        momentum: share of an image's memory that stays when the image is seen again.
        negatives: other images that an image is told from, drawn evenly (noise-contrastive estimation), for data sets
            that are too large for a softmax over all; None for that softmax.
        proximal: weight of the squared distance between an image's feature and its memory.
    """

    augment: PolicyConfig
    temperature: Positive = 0.07
    width: Count = 128
    momentum: Fraction = 0.5
    negatives: Count | None = None
    proximal: NonNegative = 0.0


class InstanceDiscrimination(EncoderMethod):
    """The encoder below a linear layer, and the memory bank."""

    streams = ("unlabelled",)
    memory: Memory
    partition: Tensor

    def __init__(self, config: Config, encoder: Encoder):
        super().__init__(encoder)
        self.config = config
        self.augment = Policy(config.augment)
        self.head = nn.Linear(encoder.width, config.width)
        self.register_buffer("partition", torch.zeros(()))  # see `estimate`; 0 before it is known

    def begin(self, streams: Mapping[str, Stream], draw: Draw) -> None:
        """Make room for every image."""
        self.memory = Memory(len(streams["unlabelled"]), self.config.width, self.config.momentum)

    def refresh(self, step: int, streams: Mapping[str, Stream], draw: Draw) -> None:
        """Remember every image before the first step."""
        if step == 0:
            self.memory.fill(streams["unlabelled"], self.encoder, self.head)

    def losses(self, batch: Batches, draw: Draw) -> Losses:
        """Minus the logarithm of the probability that the view is its own image."""
        bank = self.memory.bank
        rows = batch["unlabelled"].rows.to(bank.device)
        views = self.augment(batch["unlabelled"].images, draw.stream("view"))  # [B, C, H, W]
        features = F.normalize(self.head(self.encoder(views)))  # [B, width]
        self.memory.see(rows, features)
        if self.config.negatives is None:
            loss = F.cross_entropy(features @ bank.T / self.config.temperature, rows)
        else:
            others = draw.stream("negatives").integers(len(rows), self.config.negatives, high=len(bank))
            loss = self.estimate(features, rows, others)
        near = (features - bank[rows]).square().sum(dim=1).mean()
        return Losses(loss + self.config.proximal * near, {"distance": near})

    def estimate(self, features: Tensor, rows: Tensor, others: Tensor) -> Tensor:
        """Noise-contrastive estimation: each image's own memory against `others`, int64 [B, negatives]."""
        bank = self.memory.bank
        count, noise = len(bank), others.shape[1] / len(bank)  # expected times that noise is an image
        picked = bank[torch.cat([rows[:, None], others], dim=1)]  # [B, 1 + negatives, width]
        scores = torch.einsum("bw,bnw->bn", features, picked) / self.config.temperature
        if self.partition == 0:  # the mean over images, estimated once from the first batch, as in the paper
            self.partition.copy_(gathered(scores[:, 1:].exp().mean(dim=1)).mean())
        logits = scores - (count * self.partition).log() - math.log(noise)  # of being the image and not noise
        return F.softplus(-logits[:, 0]).mean() + F.softplus(logits[:, 1:]).sum(dim=1).mean()

    def after_step(self) -> None:
        """Move the memory of the images that were seen."""
        self.memory.move()
