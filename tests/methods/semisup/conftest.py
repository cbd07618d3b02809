"""A classifier with random weights, and a batch of real digits for both streams."""

import pytest
import torch
from sklearn.datasets import load_digits

from repflow.data.read.batches import Batch, Batches
from repflow.encoders import Classifier, HeadConfig, build_encoder
from repflow.encoders.classifier import build_head
from repflow.encoders.convolutional import SmallConfig


@pytest.fixture
def classifier() -> Classifier:
    """Sure enough of some digits that a threshold splits them."""
    torch.manual_seed(0)
    encoder = build_encoder(SmallConfig(widths=(8, 16)), 1, 8)
    made = Classifier(encoder, build_head(HeadConfig(), encoder.width, 10))
    with torch.no_grad():
        made.head[-1].weight.mul_(8)
    return made


@pytest.fixture
def batches() -> Batches:
    """8 labelled and 24 unlabelled digits, half of the training done."""
    digits = load_digits()
    images = torch.from_numpy(digits.images[:32, None] / 16).float()
    labels = torch.from_numpy(digits.target[:32])
    labelled = Batch(images[:8], labels[:8], torch.arange(8))
    unlabelled = Batch(images[8:], torch.full((24,), -1), torch.arange(24))
    return Batches({"labelled": labelled, "unlabelled": unlabelled}, 0.5)
