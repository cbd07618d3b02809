"""Several classifiers as one: the weighted mean of their probabilities.

Lakshminarayanan, Pritzel, Blundell. Simple and Scalable Predictive Uncertainty Estimation using Deep Ensembles. NeurIPS
2017, section 2.4: the members are averaged as a mixture.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from repflow.encoders.classifier import Classifier
from repflow.encoders.encoder import Encoder


class Ensemble(nn.Module):
    """Images to logits, the logarithms of the weighted mean of the members' probabilities.

    Args:
        members: classifiers of the same classes, which take the same images.
        weights: of each member, above 0; they sum to 1.
    """

    log_weights: Tensor

    def __init__(self, members: Sequence[Classifier], weights: Sequence[float]):
        super().__init__()
        self.members = nn.ModuleList(members)
        # Not among the weights of the model: its description holds them.
        logs = torch.tensor([math.log(weight) for weight in weights])
        self.register_buffer("log_weights", logs, persistent=False)

    @property
    def classes(self) -> int:
        """Number of classes."""
        first = self.members[0]
        assert isinstance(first, Classifier)
        return first.classes

    @property
    def encoder(self) -> Encoder:
        """That of the member with the most weight."""
        main = self.members[int(self.log_weights.argmax())]
        assert isinstance(main, Classifier)
        return main.encoder

    def forward(self, images: Tensor) -> Tensor:
        """Logits [B, classes] of images [B, channels, size, size] in [0, 1]; their exponentials sum to 1."""
        logits = torch.stack([member(images).float() for member in self.members])  # [members, B, classes]
        return torch.logsumexp(logits.log_softmax(dim=2) + self.log_weights.view(-1, 1, 1), dim=0)
