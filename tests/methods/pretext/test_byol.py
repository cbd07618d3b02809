"""BYOL's loss against a naive loop over the paper's equation 2."""

import pytest
import torch
from torch import Tensor

from repflow.augment.operations import HorizontalFlip, Invert
from repflow.data.read.batches import Batch, Batches
from repflow.encoders import build_encoder
from repflow.encoders.convolutional import SmallConfig
from repflow.encoders.small_residual import SmallResNetConfig
from repflow.methods.pretext.byol import BYOL, Config
from repflow.randomness.draws import Draw

IMAGES = Draw(0, "images").uniform(6, 3, 16, 16)
BATCHES = Batches({"unlabelled": Batch(IMAGES, torch.full((6,), -1), torch.arange(6))}, 0.5)


@pytest.fixture(
    params=[SmallConfig(widths=(8, 16)), SmallResNetConfig(widths=(8, 16))], ids=lambda encoder: encoder.name
)
def method(request: pytest.FixtureRequest) -> BYOL:
    """A method whose target is another network than the one that learns.

    Its encoder has no batch normalisation, or one whose statistics are those of one view.
    """
    torch.manual_seed(0)
    config = Config(augment=(HorizontalFlip(),), second=(Invert(),), hidden=16, projection=8, momentum=0.8)
    method = BYOL(config, build_encoder(request.param, 3, 16))
    for weight in method.target.parameters():
        torch.nn.init.normal_(weight, std=0.2)
    return method


def distance(prediction: Tensor, target: Tensor) -> float:
    """The mean over images of the squared distance between unit vectors."""
    pairs = zip(prediction.double(), target.double(), strict=True)
    return sum(float((p / p.norm() - z / z.norm()).square().sum()) for p, z in pairs) / len(prediction)


def test_the_loss_is_the_paper_s(method: BYOL) -> None:
    draw = Draw(0, "step")
    views = [policy(IMAGES, draw.stream(f"view-{number}")) for number, policy in enumerate(method.policies, 1)]
    assert not torch.equal(*views)
    with torch.no_grad():
        first, second = (method.prediction_head(method.projection_head(method.encoder(view))) for view in views)
        of_first, of_second = (method.target(view) for view in views)
        loss = method.losses(BATCHES, Draw(0, "step")).total.item()
    assert loss == pytest.approx(distance(first, of_second) + distance(second, of_first), rel=1e-5)


def test_the_target_changes_by_the_moving_average_only(method: BYOL) -> None:
    before = [weight.clone() for weight in method.target.parameters()]
    method.losses(BATCHES, Draw(0, "step")).total.backward()
    assert all(weight.grad is None for weight in method.target.parameters())
    method.after_step()
    fast = [*method.encoder.parameters(), *method.projection_head.parameters()]
    for slow, was, target in zip(method.target.parameters(), before, fast, strict=True):
        assert torch.allclose(slow, 0.9 * was + 0.1 * target, atol=1e-6)
