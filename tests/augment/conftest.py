"""Real images: handwriting and photographs, colour and grey; and the form of augmentation that a GPU takes."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits, load_sample_images
from torch import Tensor

from repflow.augment import per_sample


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


@pytest.fixture
def masked(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Any]], Any]:
    """Calls a function with the masked form on every device; its random numbers are those of the CPU."""

    def call(function: Callable[[], Any]) -> Any:
        with monkeypatch.context() as patch:
            patch.setattr(per_sample, "MASKED", frozenset({"cpu", "meta", "cuda"}))
            return function()

    return call


@pytest.fixture
def hardly_different() -> Callable[[Tensor, Tensor], bool]:
    """Tells whether images are the same up to rounding.

    Where rounding decides, as in histograms and thresholds, a value in ten thousand may be another one.
    """

    def compare(one: Tensor, other: Tensor) -> bool:
        apart = (one - other).abs() > 2e-5
        return one.shape == other.shape and bool(apart.float().mean() <= 1e-4)

    return compare


@pytest.fixture
def whole_graph(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """torch.compile traces the whole function or fails, and runs its graph without a compiler; a list of the graphs."""
    compile, graphs = torch.compile, []

    def backend(graph: Any, inputs: Any) -> Any:
        graphs.append(graph)
        return graph.forward

    def strictly(function: Any, **_: Any) -> Any:
        return compile(function, fullgraph=True, backend=backend)

    torch._dynamo.reset()
    monkeypatch.setattr(torch, "compile", strictly)
    yield graphs
    torch._dynamo.reset()
