"""SimSiam's loss against a naive loop over images, the stop-gradient, and the predictor's rate."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from repflow.augment.operations import HorizontalFlip, PadAndCrop
from repflow.data.read.batches import Batch, Batches
from repflow.encoders import build_encoder
from repflow.encoders.convolutional import SmallConfig
from repflow.encoders.small_residual import SmallResNetConfig
from repflow.methods.pretext.simsiam import Config, SimSiam
from repflow.randomness.draws import Draw
from repflow.stages.learning import check_method
from repflow.training.optimisation import build_optimizer, set_rates

IMAGES = Draw(0, "images").uniform(6, 3, 16, 16)
BATCH = Batches({"unlabelled": Batch(IMAGES, torch.full((6,), -1), torch.arange(6))}, 0.0)


@pytest.fixture(
    params=[SmallConfig(widths=(8, 16)), SmallResNetConfig(widths=(8, 16))], ids=lambda encoder: encoder.name
)
def method(request: pytest.FixtureRequest) -> SimSiam:
    """Its encoder has no batch normalisation, or one whose statistics are those of one view."""
    torch.manual_seed(0)
    config = Config(augment=(HorizontalFlip(), PadAndCrop(padding=2)), projection=12, bottleneck=4)
    return SimSiam(config, build_encoder(request.param, 3, 16))


def halves(method: SimSiam) -> tuple[list[Tensor], list[Tensor]]:
    """Projections and predictions of both views."""
    views = [method.augment(IMAGES, Draw(0, "step").stream(f"view-{number}")) for number in (1, 2)]
    assert not torch.equal(*views)
    projections = [method.projection_head(method.encoder(view)) for view in views]
    return projections, [method.predictor(each) for each in projections]


def test_the_loss_is_minus_the_cosine_of_each_prediction_and_the_other_projection(method: SimSiam) -> None:
    with torch.no_grad():
        z, p = ([each.double().numpy() for each in part] for part in halves(method))
    total = 0.0
    for one, other in ((p[0], z[1]), (p[1], z[0])):
        for a, b in zip(one, other, strict=True):
            total -= a @ b / np.sqrt((a @ a) * (b @ b))
    assert method.losses(BATCH, Draw(0, "step")).total.item() == pytest.approx(total / 12, rel=1e-5)


def test_the_target_has_a_stop_gradient(method: SimSiam) -> None:
    weights = list(method.encoder.parameters())
    found = torch.autograd.grad(method.losses(BATCH, Draw(0, "step")).total, weights)
    z, p = halves(method)
    fixed = [each.detach() for each in z]
    cosine = torch.cosine_similarity
    stopped = -(cosine(p[0], fixed[1]).mean() + cosine(p[1], fixed[0]).mean()) / 2
    for ours, right in zip(found, torch.autograd.grad(stopped, weights, retain_graph=True), strict=True):
        assert torch.allclose(ours, right, atol=1e-6)
    through = torch.autograd.grad(-(cosine(p[0], z[1]).mean() + cosine(p[1], z[0]).mean()) / 2, weights)
    assert not torch.allclose(found[0], through[0], atol=1e-6)


def test_the_predictor_s_rate_does_not_decay(method: SimSiam, configuration: dict[str, Any]) -> None:
    _, _, section = check_method(configuration["methods"]["pretrain"]["simsiam"], "conf/pretrain/simsiam.yaml")
    config = section.training.optimizer
    optimizer = build_optimizer(method, config)
    predictor = {id(each) for each in method.predictor.parameters()}
    for step in (0, 50, 99):
        set_rates(optimizer, section.training.schedule, step, 100)
        for group in optimizer.param_groups:
            of_predictor = {id(each) in predictor for each in group["params"]}
            assert len(of_predictor) == 1
            assert (group["lr"] == config.peak(1)) == of_predictor.pop()
