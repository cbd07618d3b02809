"""Batched features and probabilities, also of read-only images."""

import numpy as np
import pytest
import torch

from repflow.encoders import Classifier, HeadConfig, build_encoder
from repflow.encoders.classifier import build_head
from repflow.encoders.convolutional import SmallConfig
from repflow.evaluation.features import encode, probabilities


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    return build_encoder(SmallConfig(widths=(8, 8, 8)), channels=3, size=16)


@pytest.fixture(scope="module")
def images():
    images = np.random.default_rng(0).integers(0, 256, (11, 3, 16, 16), np.uint8)
    images.flags.writeable = False
    return images


@pytest.mark.filterwarnings("error")
def test_features_do_not_depend_on_the_batch_size(encoder, images):
    with torch.no_grad():
        expected = encoder(torch.from_numpy(images.copy()) / 255)
    for batch_size in (1, 4, 512):
        features = encode(encoder, images, batch_size)
        assert features.dtype == np.float32
        assert np.allclose(features, expected, atol=1e-5)


def test_probabilities_sum_to_one_and_dropout_is_off(encoder, images):
    head = build_head(HeadConfig(hidden=(5,), dropout=0.5), encoder.width, 4)
    classifier = Classifier(encoder, head).train()
    first, second = (probabilities(classifier, images) for _ in range(2))
    assert first.shape == (11, 4)
    assert np.allclose(first.sum(1), 1)
    assert np.array_equal(first, second)
    assert classifier.training


def test_no_images_give_no_rows(encoder, images):
    assert encode(encoder, images[:0]).shape == (0, encoder.width)
