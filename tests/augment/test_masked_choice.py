"""One of several named transforms for every image, in the masked form, and what it computes for all of them."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from repflow.augment import geometry, operations
from repflow.augment.masked_choice import MOVES, apply_by_name_masked
from repflow.augment.strength import TRANSFORMS, Limits, apply_by_name
from repflow.randomness.draws import Draw

Masked = Callable[[Callable[[], Any]], Any]
Compare = Callable[[Tensor, Tensor], bool]


@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_choice_changes_its_images_and_leaves_the_others_exactly(
    name: Any, photographs: Tensor, hardly_different: Compare
) -> None:
    choice = torch.arange(8) % 3
    others = choice != 1
    given = (("identity", name, "identity"), choice, torch.full((8,), 0.7), 2.0 * (torch.arange(8) % 2) - 1, Limits())
    before = photographs.clone()
    found = apply_by_name_masked(photographs, *given)
    assert hardly_different(found, apply_by_name(photographs, *given))
    assert torch.equal(found[others], before[others])
    assert torch.equal(photographs, before)


def test_a_name_may_stand_among_the_choices_twice(
    photographs: Tensor, masked: Masked, hardly_different: Compare
) -> None:
    twice = operations.RandAugment(choices=("rotate", "solarise", "rotate", "contrast", "solarise"), strength=(0.5, 1))
    found = masked(lambda: twice(photographs, Draw(0, "test")))
    assert hardly_different(found, twice(photographs, Draw(0, "test")))


def test_all_moves_are_one_sampling(photographs: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    affine = geometry.affine

    def counting(images: Tensor, *given: Any, **named: Any) -> Tensor:
        calls.append(len(images))
        return affine(images, *given, **named)

    monkeypatch.setattr(geometry, "affine", counting)
    choice, ones = torch.arange(8) % len(MOVES), torch.ones(8)
    apply_by_name_masked(photographs, MOVES, choice, 0.5 * ones, ones, Limits())
    assert calls == [8]


@pytest.mark.parametrize(
    "settings", [{}, {"brightness": 0.4}, {"hue": 0.2}, {"contrast": 0.4, "hue": 0.2}, {"saturation": 0.4}], ids=str
)
def test_colour_jitter_of_some_changes(
    settings: dict[str, float], photographs: Tensor, masked: Masked, hardly_different: Compare
) -> None:
    jitter = operations.ColourJitter(**settings)
    found = masked(lambda: jitter(photographs, Draw(0, "test")))
    assert hardly_different(found, jitter(photographs, Draw(0, "test")))
