"""Source only: train on source labels without adaptation, the lower baseline."""

import torch.nn.functional as F

from repflow.augment.policy import Policy, PolicyConfig
from repflow.data.read.batches import Batches
from repflow.encoders import Classifier
from repflow.randomness.draws import Draw
from repflow.schema import parameters
from repflow.training.contract import ClassifierMethod, Losses


@parameters
class Config:
    """The parameters: the augmentation policy."""

    augment: PolicyConfig = ()


class SourceOnly(ClassifierMethod):
    """Cross-entropy on the source."""

    streams = ("source",)

    def __init__(self, config: Config, classifier: Classifier):
        super().__init__(classifier)
        self.augment = Policy(config.augment)

    def losses(self, batch: Batches, draw: Draw) -> Losses:
        source = batch["source"]
        logits = self.classifier(self.augment(source.images, draw))  # [B, K]
        right = (logits.argmax(dim=1) == source.labels).float().mean()
        return Losses(F.cross_entropy(logits, source.labels), {"accuracy": right})
