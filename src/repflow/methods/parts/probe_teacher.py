"""A teacher that needs few labels: the mean of linear classifiers of frozen features and of oriented gradients."""

import copy
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from repflow.data.read.batches import Stream
from repflow.encoders import Encoder, build_encoder
from repflow.encoders.classical import HOGConfig
from repflow.encoders.encoder import Pooled
from repflow.encoders.linear_layer import fold

_MOST = 20_000
"""Labelled images that the teacher is fitted on at most, evenly spaced."""


class ProbeTeacher(nn.Module):
    """Logistic regression on an encoder's features, on its feature maps, and on histograms of oriented gradients.

    Four regressions: on the features, on the feature maps pooled to 2x2, on the histograms, and on the features beside
    the histograms. They err in different ways, so the mean of their probabilities is better than each
    (docs/recipes.md). The encoder is copied as it is; nothing here learns after the fit. Images too small for the
    histograms, and encoders without feature maps, do without.

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
        """What each regression reads: [B, width] each."""
        encoder, *further = self.encoders
        assert isinstance(encoder, Encoder)
        found, maps = _features_and_maps(encoder, images)
        read = [found, *(each(images).float() for each in further)]
        together = [torch.cat(read, 1)] if further else []
        return [*read, *together, *maps]


def _features_and_maps(encoder: Encoder, images: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Features [B, width], and in a list, empty for an encoder without maps, its maps pooled to 2x2 [B, 4 width]."""
    if not isinstance(encoder.body, Pooled):
        return encoder(images).float(), []
    maps = encoder.maps(images).float()
    return F.adaptive_avg_pool2d(maps, 1).flatten(1), [F.adaptive_avg_pool2d(maps, 2).flatten(1)]


def _fitted(features: Tensor, labels: np.ndarray, classes: int, inverse_regularisation: float) -> nn.Linear:
    """A logistic regression on standardised features [N, D] as one layer from D to `classes`."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    regression = LogisticRegression(C=inverse_regularisation, max_iter=500)
    layer = nn.Linear(features.shape[1], classes)
    fold(make_pipeline(StandardScaler(), regression).fit(features.cpu().numpy(), labels), layer)
    return layer.to(features.device)
