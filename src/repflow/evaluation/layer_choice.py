"""Which layer of a frozen encoder to read: the one whose features tell the classes of validation images apart best.

A least-squares classifier judges, as it is fitted in a moment, where a logistic regression for each of some fifteen
readings would take longer than the training; the probes are fitted on the chosen layer afterwards. Its penalty is
chosen by leave-one-out errors on the training images (Golub, Heath, Wahba. Generalized Cross-Validation as a Method for
Choosing a Good Ridge Parameter. Technometrics 1979).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.linear_model import RidgeClassifierCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from repflow.data.read.batches import inference_batch
from repflow.data.read.rows import Rows, sampled
from repflow.encoders import Encoder
from repflow.encoders.layer_features import LayerFeatures, outputs, pooled, widths
from repflow.encoders.layers import layers
from repflow.evaluation.features import in_batches
from repflow.schema import Count, Positive, parameters


@parameters
class LayerChoiceConfig:
    """Parameters of the choice.

    Attributes:
        grids: positions along each side that the maps of a layer are averaged to, to choose from.
        images: most training images that are fitted on, evenly spaced.
        penalties: of the least-squares classifier, for one image each, to choose from.
    """

    grids: tuple[Count, ...] = (1, 2, 4)
    images: Count = 5_000
    penalties: tuple[Positive, ...] = (0.001, 0.01, 0.1, 1.0)


@dataclass(frozen=True)
class Reading:
    """A layer and how finely its maps are read.

    Attributes:
        layer: its number, the first one is 0.
        grid: positions along each side that its maps are averaged to.
        accuracy: on the validation images, in [0, 1].
    """

    layer: int
    grid: int
    accuracy: float


Score = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], float]
"""Accuracy of a classifier: features and labels of training images, then of validation images."""


def rank_layers(
    config: LayerChoiceConfig, encoder: Encoder, training: Rows, validation: Rows, score: Score | None = None
) -> list[Reading]:
    """All readings of an encoder, the best first.

    Args:
        config: the readings to choose from.
        encoder: the frozen encoder, in evaluation mode.
        training: rows with labels.
        validation: rows with labels, which judge; of equal readings, the later layer and the coarser grid is better.
        score: judges the features of a layer; the least-squares classifier if None.

    Returns:
        An empty list without validation rows, and for an encoder that is no sequence of layers.
    """
    if not len(validation):
        return []
    judge = score or least_squares(config.penalties)
    training = sampled(training, config.images)
    readings = []
    for grid in config.grids if layers(encoder) else ():
        of_each = zip(*(_features(encoder, rows, grid) for rows in (training, validation)), strict=True)
        for layer, (fitted, judged) in enumerate(of_each):
            readings.append(Reading(layer, grid, judge(fitted, training.labels, judged, validation.labels)))
    return sorted(readings, key=lambda reading: (-reading.accuracy, -reading.layer, reading.grid))


def encoder_of(reading: Reading, encoder: Encoder, size: int) -> Encoder:
    """The encoder of a reading, in evaluation mode, for images of `size` pixels."""
    width = widths(encoder, size, reading.grid)[reading.layer]
    return LayerFeatures(encoder, reading.layer, reading.grid, width).eval()


def _features(encoder: Encoder, rows: Rows, grid: int) -> list[np.ndarray]:
    """Features of every layer: float32 [N, width of the layer]."""
    found: list[list[torch.Tensor]] = [[] for _ in layers(encoder)]
    with torch.inference_mode():
        for images in in_batches(rows.images, inference_batch(rows.images, 512), encoder.mean.device):
            for kept, output in zip(found, outputs(encoder, images), strict=True):
                kept.append(pooled(output, grid).float().cpu())
    return [torch.cat(each).numpy() for each in found]


def least_squares(penalties: Sequence[float]) -> Score:
    """Accuracy of the least-squares classifier on standardised features, with one of these penalties for each image."""

    def accuracy(training: np.ndarray, labels: np.ndarray, validation: np.ndarray, wanted: np.ndarray) -> float:
        classifier = RidgeClassifierCV(alphas=[each * len(labels) for each in penalties])
        return float(make_pipeline(StandardScaler(), classifier).fit(training, labels).score(validation, wanted))

    return accuracy
