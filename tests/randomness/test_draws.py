"""A sample's random numbers do not depend on the rest of the batch or on the number of processes."""

from typing import Any

import pytest
import scipy.stats
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from repflow.augment.operations import Affine, ColourJitter, GaussianNoise, HorizontalFlip, RandAugment
from repflow.augment.policy import Policy
from repflow.encoders.dropout import Dropout
from repflow.randomness import draws
from repflow.randomness.draws import Draw, layer_draw, use_layer_draw

RANKS = 3


@pytest.fixture(params=["the CPU's numbers", "the device's own numbers"], autouse=True)
def source(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Every test by the numbers of the CPU and by those that a GPU makes itself, here by the CPU in its place."""
    if "own" in request.param:
        monkeypatch.setattr(draws, "OWN_NUMBERS", frozenset({"cpu", "cuda"}))
    return str(request.param)


def numbers(draw: Draw, count: int) -> list[Tensor]:
    return [
        draw.uniform(count, 2),
        draw.normal(count),
        draw.integers(count, high=1000),
        draw.beta(count, 0.4),
        draw.stream("inner").uniform(count),
    ]


def shared(rank: int) -> Draw:
    return Draw(1, "test", 5, rank=rank, ranks=RANKS)


def test_each_process_draws_its_rows_of_the_global_batch() -> None:
    whole = numbers(Draw(1, "test", 5), 12)
    for rank in range(RANKS):
        for mine, all_of_it in zip(numbers(shared(rank), 4), whole, strict=True):
            assert torch.equal(mine, all_of_it[rank::RANKS])


def test_a_subset_of_samples_keeps_its_numbers() -> None:
    chosen = torch.tensor([1, 4, 5])
    whole, some = Draw(1, "test"), Draw(1, "test")
    assert torch.equal(whole.uniform(8), some.uniform(8))
    among = some.subset(chosen, 8)
    assert torch.equal(among.uniform(3), whole.uniform(8)[chosen])
    fewer = among.subset(torch.tensor([0, 2]), 3)
    assert torch.equal(fewer.normal(2), whole.normal(8)[[1, 5]])


def test_a_subset_on_one_process() -> None:
    chosen = torch.tensor([0, 3])
    whole = Draw(1, "test", 5).uniform(12)
    assert torch.equal(shared(2).subset(chosen, 4).uniform(2), whole[2::RANKS][chosen])


def test_a_policy_on_one_process_with_two_views() -> None:
    images = Draw(0, "images").uniform(6, 3, 32, 32)
    policy = Policy(
        (
            HorizontalFlip(),
            Affine(degrees=20, probability=0.6),
            ColourJitter(brightness=0.4, hue=0.1, probability=0.8),
            GaussianNoise(probability=0.5),
            RandAugment(strength=(0.0, 1.0)),
        )
    )
    views = images.repeat(2, 1, 1, 1)
    whole = policy(views, Draw(1, "test", 5))
    for rank in range(RANKS):
        mine = policy(views[rank::RANKS], shared(rank))
        assert torch.allclose(mine, whole[rank::RANKS], atol=1e-6)


def test_the_permutation_is_the_same_on_all_processes() -> None:
    assert torch.equal(shared(0).permutation(50), shared(2).permutation(50))


def test_dropout_is_a_function_of_the_draw() -> None:
    dropout, features = Dropout(0.5), torch.ones(6, 40)
    with use_layer_draw(Draw(1, "test", 5)):
        whole = dropout(features)
    assert set(whole.unique().tolist()) == {0.0, 2.0}
    assert 0.3 < (whole > 0).float().mean() < 0.7
    for rank in range(RANKS):
        with use_layer_draw(shared(rank)):
            assert torch.equal(dropout(features[:2]), whole[rank::RANKS])
    assert torch.equal(dropout.eval()(features), features)


def test_layers_need_a_draw() -> None:
    with pytest.raises(LookupError):
        layer_draw()
    with pytest.raises(LookupError):
        Dropout(0.5)(torch.ones(1))


@pytest.mark.parametrize("alpha", [0.1, 0.2, 1.0, 3.0])
def test_beta_has_its_distribution(alpha: float) -> None:
    drawn = Draw(0, "test").beta(20_000, alpha)
    assert drawn.dtype == torch.float32
    assert not drawn.isnan().any()
    low = drawn[drawn < 0.5].double().numpy()  # near 1 float32 rounds, but the distribution is symmetric
    assert abs(len(low) / 20_000 - 0.5) < 0.015
    _, chance = scipy.stats.kstest(low, lambda value: 2 * scipy.stats.beta(alpha, alpha).cdf(value))
    assert chance > 1e-3


def test_a_stream_is_independent_of_what_was_drawn_before() -> None:
    one, other = Draw(2, "test", 7), Draw(2, "test", 7)
    one.normal(100)
    assert torch.equal(one.stream("inner").uniform(4), other.stream("inner").uniform(4))
    assert not torch.equal(Draw(2, "test", 8).uniform(4), Draw(2, "test", 7).uniform(4))


def test_a_copy_goes_on_where_the_stream_is() -> None:
    draw = Draw(0, "test")
    one, other, whole = draw.to("cpu").uniform(3), draw.uniform(3), Draw(0, "test")
    assert torch.equal(one, whole.uniform(3))
    assert torch.equal(other, whole.uniform(3))


def test_other_devices_get_the_numbers_of_the_cpu(source: str) -> None:
    """A device without values, for one, which makes no random numbers."""
    draw = Draw(0, "test", device="meta")
    assert numbers(draw, 3)[0].shape == (3, 2)
    assert {each.device.type for each in [*numbers(draw, 3), draw.permutation(4)]} == {"meta"}


def test_a_device_s_own_numbers_are_made_on_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """No number is made elsewhere and copied: every call of a random function names the device and its generator."""
    monkeypatch.setattr(draws, "OWN_NUMBERS", frozenset({"meta"}))
    monkeypatch.setattr(torch, "Generator", lambda device: torch._C.Generator("cpu"))
    seen: list[str] = []

    class Noting(TorchFunctionMode):
        def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            kwargs = dict(kwargs or {})
            if kwargs.get("generator") is not None:
                seen.append(getattr(function, "__name__", str(function)))
                assert torch.device(kwargs.get("device", "meta")).type == "meta"
                kwargs["generator"] = None
            made = function(*args, **kwargs)
            if isinstance(made, Tensor):
                assert made.device.type == "meta"
            return made

    with Noting():
        draw = Draw(1, "test", 5, device="meta", rank=1, ranks=2)
        for each in [*numbers(draw, 4), draw.permutation(9), draw.bernoulli(3, 0.5)]:
            assert each.device.type == "meta"
    assert {"rand", "randn", "randint", "randperm", "_standard_gamma"} <= set(seen)
