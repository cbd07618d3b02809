"""DANN: learn features that a domain classifier cannot separate, through a gradient reversal layer.

Ganin, Ustinova, Ajakan, Germain, Larochelle, Laviolette, Marchand, Lempitsky. Domain-Adversarial Training of Neural
Networks. JMLR 2016.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from repflow.augment.policy import Policy, PolicyConfig
from repflow.data.read.batches import Batches
from repflow.encoders import Classifier
from repflow.randomness.draws import Draw
from repflow.schema import Count, NonNegative, Positive, parameters
from repflow.training.contract import ClassifierMethod, Losses


@parameters
class Config:
    """DANN's own parameters.

    Attributes:
        augment: augmentation policy of both domains.
        hidden: width of the domain classifier's hidden layer.
        strength: maximum weight of the reversed gradient.
        gamma: steepness of the weight's schedule: strength * (2 / (1 + exp(-gamma p)) - 1) over progress p.
    """

    augment: PolicyConfig = ()
    hidden: Count = 100
    strength: NonNegative = 1.0
    gamma: Positive = 10.0


class DANN(ClassifierMethod):
    """A label classifier on the source, and a domain classifier on both domains behind a gradient reversal layer."""

    streams = ("source", "target")

    def __init__(self, config: Config, classifier: Classifier):
        super().__init__(classifier)
        self.augment = Policy(config.augment)
        self.strength, self.gamma = config.strength, config.gamma
        self.domain_head = nn.Sequential(
            nn.Linear(classifier.encoder.width, config.hidden), nn.ReLU(inplace=True), nn.Linear(config.hidden, 1)
        )

    def losses(self, batch: Batches, draw: Draw) -> Losses:
        source, target = batch["source"], batch["target"]
        images = self.augment(torch.cat([source.images, target.images]), draw)  # [S + T, C, H, W]
        features = self.classifier.encoder(images)  # [S + T, width]
        logits = self.classifier.head(features[: len(source.images)])  # [S, K]
        weight = self.strength * (2 / (1 + math.exp(-self.gamma * batch.progress)) - 1)
        domains = self.domain_head(ReverseGradient.apply(features, weight)).squeeze(1)  # [S + T]
        is_target = (torch.arange(len(domains), device=domains.device) >= len(source.images)).to(domains)
        label_loss = F.cross_entropy(logits, source.labels)
        domain_loss = F.binary_cross_entropy_with_logits(domains, is_target)
        metrics = {
            "label_loss": label_loss,
            "domain_loss": domain_loss,
            "accuracy": (logits.argmax(dim=1) == source.labels).float().mean(),
            "domain_accuracy": ((domains > 0) == is_target.bool()).float().mean(),
        }
        return Losses(label_loss + domain_loss, metrics)


class ReverseGradient(torch.autograd.Function):
    """Gradient reversal: the identity, whose gradient is multiplied by -`weight`."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, weight: float) -> Tensor:
        """The features, unchanged."""
        ctx.weight = weight
        return features.view_as(features)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """The gradient, negated and weighted."""
        return -ctx.weight * gradient, None
