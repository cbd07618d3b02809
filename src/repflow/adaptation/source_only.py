"""Source only: the classifier that never saw the target, the floor of every comparison."""

import torch.nn.functional as F

from repflow.data.batches import Batches
from repflow.draw import Draw
from repflow.encoders import Classifier
from repflow.method import ClassifierMethod, Losses
from repflow.schema import parameters


@parameters
class Config:
    """Nothing to choose."""


class SourceOnly(ClassifierMethod):
    """Cross-entropy on the source."""

    streams = ("source",)

    def __init__(self, config: Config, classifier: Classifier):
        super().__init__(classifier)

    def losses(self, batch: Batches, draw: Draw) -> Losses:
        source = batch["source"]
        logits = self.classifier(source.images)  # [B, K]
        right = (logits.argmax(dim=1) == source.labels).float().mean()
        return Losses(F.cross_entropy(logits, source.labels), {"accuracy": right})
