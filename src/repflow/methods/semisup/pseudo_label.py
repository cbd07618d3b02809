"""Pseudo-label: the predicted class of an unlabelled image is used as its label.

Lee. Pseudo-Label: The Simple and Efficient Semi-Supervised Learning Method for Deep Neural Networks. ICML Workshop on
Challenges in Representation Learning, 2013.
"""

import torch
import torch.nn.functional as F

from repflow.augment.policy import Policy, PolicyConfig
from repflow.data.read.batches import Batches
from repflow.encoders import Classifier
from repflow.randomness.draws import Draw
from repflow.schema import Count, Fraction, NonNegative, parameters
from repflow.training.contract import ClassifierMethod, Losses


@parameters
class Config:
    """The parameters of pseudo-label.

    Attributes:
        augment: augmentation policy of all images.
        weight: of the unsupervised loss after the ramp-up; the paper takes 3.
        ramp_begin: progress of training at which the ramp-up begins.
        ramp_end: progress at which it ends.
        unlabelled_ratio: unlabelled images for each labelled one in a batch.
    """

    augment: PolicyConfig = ()
    weight: NonNegative = 3.0
    ramp_begin: Fraction = 0.1
    ramp_end: Fraction = 0.6
    unlabelled_ratio: Count = 3


class PseudoLabel(ClassifierMethod):
    """Cross-entropy with labels and with pseudo-labels."""

    streams = ("labelled", "unlabelled")

    def __init__(self, config: Config, classifier: Classifier):
        super().__init__(classifier)
        self.config = config
        self.augment = Policy(config.augment)

    def batch_size(self, stream: str, size: int) -> int:
        """`unlabelled_ratio` times as many unlabelled images as labelled ones."""
        return size * self.config.unlabelled_ratio if stream == "unlabelled" else size

    def weight(self, progress: float) -> float:
        """Weight of the unsupervised loss, ramped up linearly from 0."""
        begin, end = self.config.ramp_begin, self.config.ramp_end
        ramped = (progress - begin) / (end - begin) if end > begin else float(progress >= begin)
        return self.config.weight * min(1.0, max(0.0, ramped))

    def losses(self, batch: Batches, draw: Draw) -> Losses:
        """Cross-entropy with labels plus weighted cross-entropy with pseudo-labels."""
        labelled, unlabelled = batch["labelled"], batch["unlabelled"]
        # In one pass, so that batch normalisation sees labelled and unlabelled images alike.
        views = [
            self.augment(labelled.images, draw.stream("labelled")),  # [B, C, H, W]
            self.augment(unlabelled.images, draw.stream("unlabelled")),  # [ratio B, C, H, W]
        ]
        logits, guesses = self.classifier(torch.cat(views)).split([len(view) for view in views])
        supervised = F.cross_entropy(logits, labelled.labels)
        unsupervised = F.cross_entropy(guesses, guesses.argmax(1))
        total = supervised + self.weight(batch.progress) * unsupervised
        return Losses(total, {"supervised": supervised, "unsupervised": unsupervised})
