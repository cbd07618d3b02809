"""How long a training is, from the images and the budget."""

import pytest
import torch

from repflow.encoders.build import forward_flops
from repflow.encoders.convolutional import LeNetConfig
from repflow.encoders.residual import ResNetConfig
from repflow.encoders.small_residual import SmallResNetConfig
from repflow.training.budget import REFERENCE, Budget, budgeted, reason
from repflow.training.config import EarlyStoppingConfig, TrainingConfig

BUDGET = Budget(passes=10.0, least=2_000, most=40_000)


def steps(images: int, flops: float = REFERENCE, **settings: float) -> int:
    config = TrainingConfig(steps=None, batch_size=100, **settings)  # type: ignore[arg-type]
    found = budgeted(config, BUDGET, images, flops).steps
    assert found is not None
    return found


def test_passes_over_the_data_have_a_floor_and_a_ceiling() -> None:
    assert steps(1_000) == 100  # ten passes over 1,000 images
    assert steps(2_000) == 200
    assert steps(100_000) == 400  # not a million images
    assert budgeted(TrainingConfig(None, 20), BUDGET, 40, REFERENCE).steps == 100  # 2,000 images, not 400


def test_an_encoder_that_costs_more_sees_fewer_images_at_most() -> None:
    assert steps(100_000, 4 * REFERENCE) == 100
    assert steps(1_000, 2 * REFERENCE) == 100  # below the ceiling the cost does not matter


def test_a_method_may_take_a_share() -> None:
    assert steps(1_000, share=1.5) == 150


def test_steps_that_are_given_are_kept() -> None:
    config = TrainingConfig(steps=7, batch_size=100)
    assert budgeted(config, BUDGET, 1_000, REFERENCE) is config


def test_a_batch_is_at_most_half_of_the_images() -> None:
    assert budgeted(TrainingConfig(None, 100), BUDGET, 30, REFERENCE).batch_size == 15


def test_validations_follow_the_steps_unless_they_are_given() -> None:
    by_budget = TrainingConfig(None, 100, early_stopping=EarlyStoppingConfig(every=None))
    found = budgeted(by_budget, BUDGET, 1_000, REFERENCE).early_stopping
    assert found is not None
    assert found.every == 5
    given = TrainingConfig(None, 100, early_stopping=EarlyStoppingConfig(every=30))
    assert budgeted(given, BUDGET, 1_000, REFERENCE).early_stopping == EarlyStoppingConfig(every=30)


def test_the_cost_of_a_forward_pass_is_counted_without_computing_it() -> None:
    # Two 5x5 convolutions, by hand: 24x24x32 outputs of 75 products, 8x8x48 of 800.
    assert forward_flops(LeNetConfig(), 3, 28) == 2 * (24 * 24 * 32 * 75 + 8 * 8 * 48 * 800)
    before = torch.random.get_rng_state()
    forward_flops(ResNetConfig(name="resnet18"), 3, 32)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("size", [32, 64])
def test_the_reference_is_the_small_residual_network(size: int) -> None:
    assert forward_flops(SmallResNetConfig(), 3, size) == pytest.approx(REFERENCE, rel=0.2)


@pytest.mark.parametrize(
    ("images", "flops", "share", "words"),
    [
        (40, REFERENCE, 1.0, "2,000 images at least"),
        (1_000, REFERENCE, 1.0, "10 passes over 1,000 images"),
        (1_000, REFERENCE, 1.5, "10 passes over 1,000 images, times 1.5"),
        (100_000, 4 * REFERENCE, 1.0, "10,000 images at most with this encoder"),
    ],
)
def test_what_decides_is_said_in_words(images: int, flops: float, share: float, words: str) -> None:
    assert reason(TrainingConfig(None, 100, share=share), BUDGET, images, flops) == words
