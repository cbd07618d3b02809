"""Weights of real architectures, saved to files by the libraries themselves."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn


def _trained(model: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for value in model.state_dict().values():
            if value.is_floating_point():
                value.add_(0.05 * torch.rand(value.shape, generator=generator))
    return model.eval()


@pytest.fixture(scope="session")
def trained() -> Callable[[nn.Module], Any]:
    """Gives a model other weights and statistics than any new one, as if somebody had trained it."""
    return _trained


@pytest.fixture(scope="session")
def resnet_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The weights of timm's `test_resnet`."""
    import timm

    path = tmp_path_factory.mktemp("weights") / "test_resnet.safetensors"
    save_file(_trained(timm.create_model("test_resnet")).state_dict(), path)
    return path
