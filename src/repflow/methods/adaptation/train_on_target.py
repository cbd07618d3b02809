"""Train on target: train with the labels of the target domain, the oracle and upper baseline."""

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


class TrainOnTarget(ClassifierMethod):
    """Cross-entropy on the target."""

    streams = ("target",)
    reads_target_labels = True

    def __init__(self, config: Config, classifier: Classifier):
        super().__init__(classifier)
        self.augment = Policy(config.augment)

    def losses(self, batch: Batches, draw: Draw) -> Losses:
        target = batch["target"]
        logits = self.classifier(self.augment(target.images, draw))  # [B, K]
        right = (logits.argmax(dim=1) == target.labels).float().mean()
        return Losses(F.cross_entropy(logits, target.labels), {"accuracy": right})
