"""A teacher that needs few labels: the mean of linear classifiers of frozen features and of oriented gradients."""

import copy
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn

from repflow.data.read.batches import Stream
from repflow.encoders import Encoder, build_encoder
from repflow.encoders.classical import HOGConfig
from repflow.encoders.linear_layer import fold

_MOST = 20_000
"""Labelled images that the teacher is fitted on at most, evenly spaced."""


class ProbeTeacher(nn.Module):
    """Logistic regression on an encoder's features, on histograms of oriented gradients, and on both together.

    They err in different ways, so the mean of their probabilities is better than each (docs/recipes.md). The encoder is
    copied as it is; nothing here learns after the fit. Images too small for the histograms do without.

    Args:
        encoder: whose features are read.
        labelled: the images with labels; every class that is to be predicted has one.
        inverse_regularisation: of the logistic regressions on standardised features; scikit-learn's C.
    """

    def __init__(self, encoder: Encoder, labelled: Stream, inverse_regularisation: float):
        super().__init__()
        channels, size = labelled.images.shape[1:3]
        readers = [copy.deepcopy(encoder)]
        if size >= 2 * HOGConfig().cells:
            readers.append(build_encoder(HOGConfig(), channels, size).to(encoder.mean.device))
            readers[1].set_normalisation(torch.zeros(channels), torch.ones(channels))
        self.encoders = nn.ModuleList(readers).requires_grad_(False).eval()
        rows = torch.linspace(0, len(labelled) - 1, min(len(labelled), _MOST)).round().long()
        batches = [labelled.take(part) for part in rows.split(512)]
        labels = torch.cat([batch.labels for batch in batches]).cpu().numpy()
        kinds = [self._features(batch.images) for batch in batches]
        self.layers = nn.ModuleList(
            _fitted(torch.cat(each), labels, len(labelled.classes), inverse_regularisation)
            for each in zip(*kinds, strict=True)
        ).requires_grad_(False)

    def train(self, mode: bool = True) -> Self:
        """Nothing: the teacher always predicts as in evaluation."""
        return self

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Probabilities [B, classes] of images [B, channels, size, size] in [0, 1]."""
        predicted = [layer(each).softmax(1) for layer, each in zip(self.layers, self._features(images), strict=True)]
        return torch.stack(predicted).mean(0)

    @torch.no_grad()
    def _features(self, images: Tensor) -> list[Tensor]:
        """Of each encoder, and of all of them where there are several: [B, width] each."""
        found = [encoder(images).float() for encoder in self.encoders]
        return [*found, torch.cat(found, 1)] if len(found) > 1 else found


def _fitted(features: Tensor, labels: np.ndarray, classes: int, inverse_regularisation: float) -> nn.Linear:
    """A logistic regression on standardised features [N, D] as one layer from D to `classes`."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    regression = LogisticRegression(C=inverse_regularisation, max_iter=500)
    layer = nn.Linear(features.shape[1], classes)
    fold(make_pipeline(StandardScaler(), regression).fit(features.cpu().numpy(), labels), layer)
    return layer.to(features.device)
