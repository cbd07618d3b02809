"""Spectral normalisation against NumPy's singular values, PyTorch's implementation and the paper's gradient."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from repflow.methods.parts.spectral_normalisation import fix, iterate, normalise


@pytest.fixture
def body() -> nn.Sequential:
    torch.manual_seed(0)
    layers = (nn.Conv2d(3, 8, 3), nn.GroupNorm(2, 8), nn.LeakyReLU(), nn.Flatten(), nn.Linear(32, 5))
    return nn.Sequential(*layers).double()


IMAGES = torch.linspace(-1, 1, 2 * 3 * 4 * 4, dtype=torch.float64).sin().view(2, 3, 4, 4)


def largest(weight: torch.Tensor) -> float:
    """The largest singular value of a weight as a matrix with a row per output."""
    return float(np.linalg.svd(weight.detach().flatten(1).numpy(), compute_uv=False)[0])


def test_weights_are_divided_by_their_largest_singular_value(body: nn.Sequential) -> None:
    before = [body[number].weight.detach().clone() for number in (0, 4)]
    normalise(body)
    iterate(body, times=200)
    for number, weight in zip((0, 4), before, strict=True):
        assert torch.allclose(body[number].weight, weight / largest(weight), rtol=1e-6)
    assert not hasattr(body[1], "parametrizations")


def test_it_is_that_of_pytorch_with_the_same_vectors(body: nn.Sequential) -> None:
    theirs = nn.Linear(32, 5).double()
    theirs.load_state_dict(body[4].state_dict())
    spectral_norm(theirs)
    normalise(body)
    ours = body[4].parametrizations.weight
    reference = theirs.parametrizations.weight
    for mine, its in ((ours[0].left, reference[0]._u), (ours[0].right, reference[0]._v)):
        mine.copy_(its)
    iterate(body)
    expected = theirs.weight  # in training mode, it iterates once when it is read
    assert torch.allclose(body[4].weight, expected)
    (expected * IMAGES.flatten()[: 5 * 32 // 2].repeat(2).view(5, 32)).sum().backward()
    (body[4].weight * IMAGES.flatten()[: 5 * 32 // 2].repeat(2).view(5, 32)).sum().backward()
    assert torch.allclose(ours.original.grad, reference.original.grad)


def test_a_forward_pass_changes_no_state_and_a_step_follows_the_weights(body: nn.Sequential) -> None:
    normalise(body)
    iterate(body, times=200)
    state = {name: value.clone() for name, value in body.state_dict().items()}
    first = body.train()(IMAGES)
    assert torch.equal(first, body(IMAGES))
    assert all(torch.equal(value, state[name]) for name, value in body.state_dict().items())
    with torch.no_grad():
        body[4].parametrizations.weight.original[0] *= 3
    assert largest(body[4].weight) > 1.01
    for _ in range(50):
        iterate(body)
    assert largest(body[4].weight) == pytest.approx(1, rel=1e-6)


def test_fixed_layers_are_plain_ones_that_compute_the_same(body: nn.Sequential) -> None:
    names, types = list(body.state_dict()), [type(each) for each in body]
    parameters = dict.fromkeys(map(id, body.parameters()))
    normalise(body)
    iterate(body, times=200)
    expected = body(IMAGES)
    fix(body)
    assert sorted(body.state_dict()) == sorted(names)
    assert [type(each) for each in body] == types
    assert torch.allclose(body(IMAGES), expected)
    assert largest(body[0].weight) == pytest.approx(1, rel=1e-6)
    assert all(each.requires_grad for each in body.parameters())
    assert {id(each) for each in body.parameters()} == set(parameters)
    fix(body)  # once more, for modules that are not normalised
