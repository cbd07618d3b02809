"""NT-Xent without masks is lightly's loss to the last bit, and so is its gradient."""

import pytest
import torch
from lightly.loss import NTXentLoss
from lightly.loss.vicreg_loss import covariance_loss

from repflow.methods.parts.nt_xent import NTXent
from repflow.methods.parts.off_diagonal import off_diagonal
from repflow.methods.pretext import vicreg
from repflow.randomness.draws import Draw


@pytest.mark.parametrize(("count", "temperature"), [(2, 0.5), (7, 0.07), (32, 0.2)])
def test_the_loss_is_lightly_s_to_the_last_bit(count: int, temperature: float) -> None:
    found = []
    for loss in (NTXent(temperature), NTXentLoss(temperature, gather_distributed=True)):
        views = [Draw(0, name).normal(count, 16).requires_grad_() for name in ("first", "second")]
        value = loss(*views)
        value.backward()
        found.append((value, *(each.grad for each in views)))
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


def test_vicreg_s_covariances_are_lightly_s_to_the_last_bit() -> None:
    found = []
    for loss in (vicreg.covariance_loss, covariance_loss):
        projections = Draw(0, "projections").normal(9, 12).requires_grad_()
        value = loss(projections)
        value.backward()
        found.append((value, projections.grad))
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_matrix_without_its_diagonal(count: int) -> None:
    square = torch.arange(count**2).view(count, count)
    assert torch.equal(off_diagonal(square), square[~torch.eye(count, dtype=torch.bool)].view(count, -1))
