"""Accuracy of predictions among candidates that may be the same."""

import pytest
import torch

from repflow.methods.parts.accuracy import accuracy_with_ties


def test_it_is_the_accuracy_of_the_largest_logit_where_no_two_are_the_same() -> None:
    generator = torch.Generator().manual_seed(0)
    logits, targets = torch.randn(4, 50, 7, generator=generator), torch.randint(7, (4, 50), generator=generator)
    expected = (logits.argmax(dim=2) == targets).float().mean().item()
    assert accuracy_with_ties(logits, targets).item() == pytest.approx(expected)


def test_neither_order_nor_rounding_decides_between_equal_candidates() -> None:
    generator = torch.Generator().manual_seed(0)
    for _ in range(10):
        logits = torch.tensor([[3.0, 3.0, 1.0, 3.0], [0.0, 2.0, 2.0, 9.0]])
        logits = logits + 1e-6 * torch.randn(2, 4, generator=generator)
        assert accuracy_with_ties(logits, torch.tensor([1, 2])).item() == pytest.approx(1 / 6)


def test_an_encoder_that_tells_nothing_apart_is_right_by_chance() -> None:
    assert accuracy_with_ties(torch.zeros(5, 8), torch.arange(5)).item() == pytest.approx(1 / 8)
