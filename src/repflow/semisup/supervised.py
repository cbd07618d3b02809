"""Supervised learning: the labelled images alone, what every semi-supervised method has to beat."""

import torch.nn.functional as F

from repflow.augment import Policy, PolicyConfig
from repflow.data.batches import Batches
from repflow.draw import Draw
from repflow.encoders import Classifier
from repflow.method import ClassifierMethod, Losses
from repflow.schema import Fraction, parameters


@parameters
class Config:
    """The parameters of supervised learning.

    Attributes:
        augment: the policy applied to the labelled images.
        label_smoothing: share of the target that is spread evenly over all classes.
    """

    augment: PolicyConfig = ()
    label_smoothing: Fraction = 0.0


class Supervised(ClassifierMethod):
    """Cross-entropy on labelled images."""

    streams = ("labelled",)

    def __init__(self, config: Config, classifier: Classifier):
        super().__init__(classifier)
        self.config = config
        self.augment = Policy(config.augment)

    def losses(self, batch: Batches, draw: Draw) -> Losses:
        """Cross-entropy with the labels."""
        labelled = batch["labelled"]
        logits = self.classifier(self.augment(labelled.images, draw))  # [B, classes]
        loss = F.cross_entropy(logits, labelled.labels, label_smoothing=self.config.label_smoothing)
        return Losses(loss, {"accuracy": (logits.argmax(1) == labelled.labels).float().mean()})
