"""Fixtures for the training loop: a small dataset of real digits, and a small classifier method."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from sklearn.datasets import load_digits

from repflow.data.read.rows import Rows
from repflow.encoders import Classifier, HeadConfig, build_encoder
from repflow.encoders.classifier import build_head
from repflow.encoders.convolutional import SmallConfig
from repflow.hardware.devices import HardwareConfig, prepare
from repflow.methods.semisup.supervised import Config, Supervised
from repflow.schema import build
from repflow.training import TrainingConfig, TrainingResult, train
from repflow.training.contract import Method

CLASSES = tuple(str(digit) for digit in range(10))


@pytest.fixture(scope="session")
def rows() -> dict[str, Rows]:
    """96 labelled digits of 8x8 pixels."""
    digits = load_digits()
    images = (digits.images[:96, None] * 255 / 16).astype(np.uint8)
    return {"labelled": Rows(images, digits.target[:96].astype(np.int64), np.arange(96), CLASSES)}


@pytest.fixture(scope="session")
def fabric() -> Fabric:
    """One thread of the CPU."""
    return prepare(HardwareConfig(threads=1))


@pytest.fixture
def method() -> Supervised:
    """A small classifier with the same random weights in every test, dropout in its head."""
    return new_method()


def new_method(kind: Callable[[Config, Classifier], Any] = Supervised, dropout: float = 0.2) -> Any:
    """A method of a small classifier."""
    torch.manual_seed(0)
    encoder = build_encoder(SmallConfig(widths=(8, 16)), 1, 8)
    return kind(Config(), Classifier(encoder, build_head(HeadConfig(dropout=dropout), encoder.width, 10)))


@pytest.fixture
def run(rows: dict[str, Rows], fabric: Fabric) -> Callable[..., TrainingResult]:
    """`run(method, steps=..., seed=0, **training)` trains the method; what `train` takes by name may be given too."""

    def training(method: Method, seed: int = 0, **values: Any) -> TrainingResult:
        named = ("validate", "observe", "checkpoints", "meter", "compile")
        given = {name: values.pop(name) for name in named if name in values}
        config = build(TrainingConfig, {"batch_size": 16, "log_every": 1, **values}, "training")
        return train(method, rows, config, fabric, seed=seed, **given)

    return training
