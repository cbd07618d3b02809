"""The teacher against scikit-learn: what its regressions read, and the mean of what they predict."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from repflow.data.read.batches import Stream
from repflow.data.read.rows import Rows
from repflow.encoders import Encoder, EncoderConfig, build_encoder
from repflow.encoders.convolutional import SmallConfig
from repflow.encoders.transformer import ViTConfig
from repflow.methods.parts.probe_teacher import ProbeTeacher

GENERATOR = np.random.default_rng(0)


def labelled(size: int) -> Rows:
    """Forty images of three classes, which differ in brightness."""
    labels = np.arange(40) % 3
    images = GENERATOR.integers(0, 120, (40, 1, size, size)) + 40 * labels[:, None, None, None]
    return Rows(images.astype(np.uint8), labels, np.arange(40), ("a", "b", "c"))


def encoder(config: EncoderConfig, size: int) -> Encoder:
    torch.manual_seed(0)
    return build_encoder(config, 1, size).eval()


@torch.no_grad()
def predicted_by_hand(features: list[tuple[np.ndarray, np.ndarray]], labels: np.ndarray, strength: float) -> np.ndarray:
    found = []
    for fitted_to, read in features:
        regression = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=500))
        found.append(regression.fit(fitted_to, labels).predict_proba(read))
    return np.mean(found, axis=0)


def unit(rows: Rows) -> Tensor:
    return torch.from_numpy(rows.images).float() / 255


@torch.no_grad()
def test_four_regressions_are_averaged() -> None:
    rows, others = labelled(32), labelled(32)
    network = encoder(SmallConfig(widths=(4, 6)), 32)
    teacher = ProbeTeacher(network, Stream("labelled", rows), 0.1)
    oriented = teacher.encoders[1]

    def reads(each: Rows) -> list[np.ndarray]:
        maps = network.maps(unit(each))
        pooled = [maps.mean((2, 3)), maps.reshape(40, 6, 2, 4, 2, 4).mean((3, 5)).flatten(1)]
        whole, quarters = (value.numpy() for value in pooled)
        gradients = oriented(unit(each)).numpy()
        return [whole, gradients, np.concatenate([whole, gradients], 1), quarters]

    expected = predicted_by_hand(list(zip(reads(rows), reads(others), strict=True)), rows.labels, 0.1)
    assert teacher(unit(others)).numpy() == pytest.approx(expected, abs=1e-4)
    assert not any(each.requires_grad for each in teacher.parameters())


@torch.no_grad()
def test_an_encoder_without_feature_maps_and_images_too_small_for_histograms_do_without() -> None:
    rows, others = labelled(6), labelled(6)
    network = encoder(ViTConfig(patch=3, layers=1), 6)
    teacher = ProbeTeacher(network, Stream("labelled", rows), 0.1)
    reads = [(network(unit(rows)).numpy(), network(unit(others)).numpy())]
    assert teacher(unit(others)).numpy() == pytest.approx(predicted_by_hand(reads, rows.labels, 0.1), abs=1e-4)
