"""A head that classifies by the votes of the nearest labelled images; it carries their features.

Wu, Xiong, Yu, Lin. Unsupervised Feature Learning via Non-Parametric Instance Discrimination. CVPR 2018, section 3.4.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from repflow.schema import Count, Positive, parameters

SAME_DISTANCE = 2e-6
"""Squared distances of unit vectors that differ by less are the same: features of copies differ by rounding errors."""
SAME_WEIGHT = 1e-4
"""Classes whose weights differ by a smaller share have the same weight."""


@parameters
class NeighboursConfig:
    """The votes of the nearest labelled images.

    Attributes:
        images: number of labelled images whose features the head carries.
        neighbours: number of neighbours that vote, at most `images`.
        temperature: a neighbour with cosine similarity s has the weight exp(s / temperature).
    """

    images: Count
    neighbours: Count = 10
    temperature: Positive = 0.07
    name: Literal["neighbours"] = "neighbours"


class NeighbourVote(nn.Module):
    """Features to logits, the logarithms of the shares of the votes; predicts what `evaluation.knn.KNN` predicts.

    The nearest neighbour has one vote, the others less; before they are counted, one more vote is divided evenly among
    the classes, so that a class without a neighbour is improbable, not impossible.

    Args:
        config: neighbours and temperature.
        width: dimension of the features.
        classes: number of classes.
    """

    features: Tensor
    labels: Tensor

    def __init__(self, config: NeighboursConfig, width: int, classes: int):
        super().__init__()
        self._config, self.out_features = config, classes
        self.register_buffer("features", torch.zeros(config.images, width))
        self.register_buffer("labels", torch.zeros(config.images, dtype=torch.int64))

    def remember(self, features: Tensor, labels: Tensor) -> None:
        """Set the features [images, width] and the labels [images] of the labelled images."""
        self.features.copy_(_unit(features.double()))
        self.labels.copy_(labels)

    def forward(self, features: Tensor) -> Tensor:
        """Logits [B, classes] of features [B, width]."""
        similarity = _unit(features.double()) @ self.features.double().T  # [B, images]
        last = similarity.topk(min(self._config.neighbours, len(self.labels))).values[:, -1:]
        # Between unit vectors the squared distance is 2 - 2 s. All that are as far as the last one vote, too.
        voting = similarity > last - SAME_DISTANCE / 2
        nearest = similarity.amax(dim=1, keepdim=True)
        weights = torch.exp((similarity - nearest) / self._config.temperature) * voting
        classes = torch.arange(self.out_features, device=self.labels.device)
        votes = weights @ (self.labels[:, None] == classes).double() + 1 / self.out_features  # [B, classes]
        most = votes.amax(dim=1, keepdim=True)
        votes = torch.where(votes >= most * (1 - SAME_WEIGHT), most, votes)  # of equal classes the first is predicted
        return (votes / votes.sum(dim=1, keepdim=True)).float().log()


def _unit(vectors: Tensor) -> Tensor:
    """Vectors [N, width] of unit length; zero vectors stay."""
    return vectors * torch.rsqrt(vectors.square().sum(dim=1, keepdim=True).clamp(min=1e-24))
