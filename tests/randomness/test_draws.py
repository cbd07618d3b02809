"""A sample's random numbers do not depend on the rest of the batch or on the number of processes."""

import pytest
import torch
from torch import Tensor

from repflow.augment.operations import Affine, ColourJitter, GaussianNoise, HorizontalFlip, RandAugment
from repflow.augment.policy import Policy
from repflow.encoders.dropout import Dropout
from repflow.randomness.draws import Draw, layer_draw, use_layer_draw

RANKS = 3


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
