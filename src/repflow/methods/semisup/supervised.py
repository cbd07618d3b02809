"""Supervised learning: train on the labelled images only, the baseline of semi-supervised methods."""

import torch.nn.functional as F

from repflow.augment.mixing import Mixing
from repflow.augment.policy import Policy, PolicyConfig
from repflow.data.read.batches import Batches
from repflow.encoders import Classifier
from repflow.randomness.draws import Draw
from repflow.schema import Fraction, parameters
from repflow.training.contract import ClassifierMethod, Losses


@parameters
class Config:
    """The parameters of supervised learning.

    Attributes:
        augment: augmentation policy.
        mix: mixup or CutMix of the augmented images and of their labels, none by default.
        label_smoothing: fraction of the target probability that is distributed uniformly over all classes.
    """

    augment: PolicyConfig = ()
    mix: Mixing | None = None
    label_smoothing: Fraction = 0.0


class Supervised(ClassifierMethod):
    """Cross-entropy on labelled images."""

    streams = ("labelled",)

    def __init__(self, config: Config, classifier: Classifier):
        super().__init__(classifier)
        self.config = config
        self.augment = Policy(config.augment)

    def losses(self, batch: Batches, draw: Draw) -> Losses:
        """Cross-entropy with the labels. The accuracy is for each image's own label, also with mixing."""
        labelled = batch["labelled"]
        images, targets = self.augment(labelled.images, draw), labelled.labels
        if self.config.mix:
            shares = F.one_hot(targets, self.classifier.classes).to(images)  # [B, classes]
            images, targets = self.config.mix(images, shares, draw.stream("mix"))
        logits = self.classifier(images)  # [B, classes]
        loss = F.cross_entropy(logits, targets, label_smoothing=self.config.label_smoothing)
        return Losses(loss, {"accuracy": (logits.argmax(1) == labelled.labels).float().mean()})
