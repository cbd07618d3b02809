"""Instance discrimination: classify every image as its own class, with a memory bank of all images.

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
from repflow.methods.parts.memory_bank import MemoryBank
from repflow.randomness.draws import Draw
from repflow.schema import Count, Fraction, NonNegative, Positive, parameters
from repflow.training.contract import EncoderMethod, Losses


@parameters
class Config:
    """The parameters of instance discrimination.

    Attributes:
        augment: augmentation policy.
        temperature: of the softmax over all images.
        width: dimension of the features in the memory bank.
        momentum: weight of the stored feature when it is updated with a new one.
        negatives: number of negatives for noise-contrastive estimation, drawn uniformly, for datasets too large for a
            softmax over all images; None for the full softmax.
        proximal: weight of the squared distance between an image's feature and its entry in the memory bank.
    """

    augment: PolicyConfig
    temperature: Positive = 0.07
    width: Count = 128
    momentum: Fraction = 0.5
    negatives: Count | None = None
    proximal: NonNegative = 0.0


class InstanceDiscrimination(EncoderMethod):
    """The encoder with a linear layer, and the memory bank."""

    streams = ("unlabelled",)
    memory: MemoryBank
    partition: Tensor

    def __init__(self, config: Config, encoder: Encoder):
        super().__init__(encoder)
        self.config = config
        self.augment = Policy(config.augment)
        self.head = nn.Linear(encoder.width, config.width)
        self.register_buffer("partition", torch.zeros(()))  # see `estimate`; 0 before it is known
        self._estimated = False

    def begin(self, streams: Mapping[str, Stream], draw: Draw) -> None:
        """Allocate the memory bank."""
        self.memory = MemoryBank(len(streams["unlabelled"]), self.config.width, self.config.momentum)

    def refresh(self, step: int, streams: Mapping[str, Stream], draw: Draw) -> None:
        """Fill the memory bank before the first step."""
        if step == 0:
            self.memory.fill(streams["unlabelled"], self.encoder, self.head)

    def losses(self, batch: Batches, draw: Draw) -> Losses:
        """Negative log-probability of the view's own image, plus the proximal term."""
        bank = self.memory.bank
        rows = batch["unlabelled"].rows.to(bank.device)
        views = self.augment(batch["unlabelled"].images, draw.stream("view"))  # [B, C, H, W]
        features = F.normalize(self.head(self.encoder(views)))  # [B, width]
        self.memory.observe(rows, features)
        if self.config.negatives is None:
            loss = F.cross_entropy(features @ bank.T / self.config.temperature, rows)
        else:
            others = draw.stream("negatives").integers(len(rows), self.config.negatives, high=len(bank))
            loss = self.estimate(features, rows, others)
        near = (features - bank[rows]).square().sum(dim=1).mean()
        return Losses(loss + self.config.proximal * near, {"distance": near})

    def estimate(self, features: Tensor, rows: Tensor, others: Tensor) -> Tensor:
        """Noise-contrastive estimation: each image's own entry against `others`, int64 [B, negatives]."""
        bank = self.memory.bank
        count, noise = len(bank), others.shape[1] / len(bank)  # expected count of an image in the noise samples
        picked = bank[torch.cat([rows[:, None], others], dim=1)]  # [B, 1 + negatives, width]
        scores = torch.einsum("bw,bnw->bn", features, picked) / self.config.temperature
        if not self._estimated:  # asked once, as the host waits for the answer of a GPU
            if self.partition == 0:  # the mean over images, estimated once from the first batch, as in the paper
                self.partition.copy_(gathered(scores[:, 1:].exp().mean(dim=1)).mean())
            self._estimated = True
        logits = scores - (count * self.partition).log() - math.log(noise)  # of data against noise
        return F.softplus(-logits[:, 0]).mean() + F.softplus(logits[:, 1:]).sum(dim=1).mean()

    def after_step(self) -> None:
        """Update the memory bank."""
        self.memory.update()
