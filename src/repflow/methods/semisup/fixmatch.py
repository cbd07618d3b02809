"""FixMatch: confident predictions on weakly augmented images are pseudo-labels for strongly augmented ones.

Sohn, Berthelot, Li, Zhang, Carlini, Cubuk, Kurakin, Zhang, Raffel. FixMatch: Simplifying Semi-Supervised Learning with
Consistency and Confidence. NeurIPS 2020.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from repflow.augment.policy import Policy, PolicyConfig
from repflow.data.read.batches import Batches
from repflow.encoders import Classifier
from repflow.methods.parts.batch_statistics import uses_batch_statistics
from repflow.randomness.draws import Draw
from repflow.schema import Count, Fraction, NonNegative, parameters
from repflow.training.contract import ClassifierMethod, Losses


@parameters
class Config:
    """FixMatch's parameters. Its moving average of the weights is `training.ema`.

    Attributes:
        weak: augmentation policy of labelled images and of the views that give pseudo-labels.
        strong: augmentation policy of the views that are trained on pseudo-labels.
        threshold: minimum confidence of a pseudo-label (the paper's τ).
        weight: of the unsupervised loss (λ).
        unlabelled_ratio: unlabelled images for each labelled one in a batch (μ; the paper takes 7).
    """

    weak: PolicyConfig
    strong: PolicyConfig
    threshold: Fraction = 0.95
    weight: NonNegative = 1.0
    unlabelled_ratio: Count = 3


class FixMatch(ClassifierMethod):
    """Cross-entropy with labels and with confident pseudo-labels."""

    streams = ("labelled", "unlabelled")

    def __init__(self, config: Config, classifier: Classifier):
        super().__init__(classifier)
        self.config = config
        self.weak, self.strong = Policy(config.weak), Policy(config.strong)
        self._one_pass = uses_batch_statistics(classifier)

    def batch_size(self, stream: str, size: int) -> int:
        """`unlabelled_ratio` times as many unlabelled images as labelled ones."""
        return size * self.config.unlabelled_ratio if stream == "unlabelled" else size

    def losses(self, batch: Batches, draw: Draw) -> Losses:
        """Cross-entropy with labels plus cross-entropy of strong views with confident pseudo-labels."""
        labelled, unlabelled = batch["labelled"], batch["unlabelled"]
        weak = self.weak(unlabelled.images, draw.stream("weak"))  # [μB, C, H, W]
        views = self.weak(labelled.images, draw.stream("labelled"))  # [B, C, H, W]
        strong = self.strong(unlabelled.images, draw.stream("strong"))  # [μB, C, H, W]
        guesses, logits, predicted = self._logits(weak, views, strong)
        confidence, pseudo_labels = guesses.softmax(1).max(1)
        confident = (confidence >= self.config.threshold).float()
        supervised = F.cross_entropy(logits, labelled.labels)
        unsupervised = (confident * F.cross_entropy(predicted, pseudo_labels, reduction="none")).mean()

        total = supervised + self.config.weight * unsupervised
        metrics = {"supervised": supervised, "unsupervised": unsupervised, "confident": confident.mean()}
        return Losses(total, metrics)

    def _logits(self, weak: Tensor, labelled: Tensor, strong: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits of all views; those of the weak views have no gradient.

        With batch normalisation all views share one pass, as in the paper. Without it a pass for the weak views alone
        gives the same, and needs no gradients.
        """
        if self._one_pass:
            every = self.classifier(torch.cat([weak, labelled, strong]))
            guesses, logits, predicted = every.split([len(weak), len(labelled), len(strong)])
            return guesses.detach(), logits, predicted
        with torch.no_grad():
            guesses = self.classifier(weak)
        logits, predicted = self.classifier(torch.cat([labelled, strong])).split([len(labelled), len(strong)])
        return guesses, logits, predicted
