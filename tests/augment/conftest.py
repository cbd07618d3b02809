"""Real images: handwriting and photographs, colour and grey."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits, load_sample_images
from torch import Tensor


@pytest.fixture(scope="session")
def photographs() -> Tensor:
    """Float32 [8, 3, 40, 48]: pieces of the two photographs that scikit-learn bundles."""
    pieces = [photo[top : top + 40, 200:248] for photo in load_sample_images().images for top in (0, 100, 200, 350)]
    return torch.from_numpy(np.stack(pieces)).permute(0, 3, 1, 2).float() / 255


@pytest.fixture(scope="session")
def digits() -> Tensor:
    """Float32 [8, 1, 32, 32]: handwriting, with large flat parts and few levels."""
    images = torch.from_numpy(load_digits().images[:8, None] / 16).float()
    return torch.nn.functional.interpolate(images, size=(32, 32), mode="bilinear")


@pytest.fixture(params=["photographs", "digits"])
def images(request: pytest.FixtureRequest) -> Tensor:
    """Both kinds of images, one after the other."""
    found: Tensor = request.getfixturevalue(request.param)
    return found
