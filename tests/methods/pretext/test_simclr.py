"""SimCLR's loss against a naive loop over the paper's equation."""

import math

import pytest
import torch
from torch import Tensor

from repflow.augment.operations import HorizontalFlip
from repflow.data.read.batches import Batch, Batches
from repflow.encoders import build_encoder
from repflow.encoders.convolutional import SmallConfig
from repflow.methods.pretext.simclr import Config, SimCLR
from repflow.randomness.draws import Draw

IMAGES = Draw(0, "images").uniform(6, 3, 16, 16)


def nt_xent(first: Tensor, second: Tensor, temperature: float) -> float:
    """The mean over all 2N views of −log exp(s_ij/τ) / Σ_{k≠i} exp(s_ik/τ), one pair at a time."""
    views = torch.cat([first, second]).double()
    count = len(views)
    total = 0.0
    for i in range(count):
        j = (i + count // 2) % count
        similarity = [torch.cosine_similarity(views[i], views[k], dim=0).item() / temperature for k in range(count)]
        total -= similarity[j] - math.log(sum(math.exp(each) for k, each in enumerate(similarity) if k != i))
    return total / count


@pytest.fixture
def method() -> SimCLR:
    torch.manual_seed(0)
    config = Config(augment=(HorizontalFlip(),), temperature=0.3, projection=8)
    return SimCLR(config, build_encoder(SmallConfig(widths=(8, 16)), 3, 16))


def batches(images: Tensor) -> Batches:
    hidden = torch.full((len(images),), -1)
    return Batches({"unlabelled": Batch(images, hidden, torch.arange(len(images)))}, 0.0)


def test_the_loss_is_the_paper_s(method: SimCLR) -> None:
    draw = Draw(0, "step")
    first, second = (method.augment(IMAGES, draw.stream(f"view-{number}")) for number in (1, 2))
    assert not torch.equal(first, second)
    with torch.no_grad():
        projections = method.projection_head(method.encoder(torch.cat([first, second])))
        loss = method.losses(batches(IMAGES), Draw(0, "step")).total.item()
    assert loss == pytest.approx(nt_xent(*projections.chunk(2), temperature=0.3), rel=1e-5)


def test_the_loss_is_smallest_for_equal_views_of_different_images(method: SimCLR) -> None:
    apart = torch.eye(6, 8)
    assert method.nt_xent(apart, apart) < method.nt_xent(apart, apart.roll(1, 0))
    collapsed = torch.ones(6, 8)
    assert method.nt_xent(collapsed, collapsed).item() == pytest.approx(math.log(11), rel=1e-6)
