"""VICReg's loss against NumPy's variances and covariances."""

import numpy as np
import pytest
import torch

from repflow.augment.operations import HorizontalFlip, Invert
from repflow.data.read.batches import Batch, Batches
from repflow.encoders import build_encoder
from repflow.encoders.convolutional import SmallConfig
from repflow.encoders.small_residual import SmallResNetConfig
from repflow.methods.pretext.vicreg import Config, VICReg
from repflow.randomness.draws import Draw

IMAGES = Draw(0, "images").uniform(12, 3, 16, 16)
ENCODERS = [SmallConfig(widths=(8, 16)), SmallResNetConfig(widths=(8, 16))]
"""Without and with batch normalisation, whose statistics are those of one view."""


@pytest.mark.parametrize("encoder", ENCODERS, ids=lambda encoder: encoder.name)
@pytest.mark.parametrize("weights", [(25.0, 25.0, 1.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)])
def test_the_loss_is_the_paper_s(encoder: SmallConfig | SmallResNetConfig, weights: tuple[float, float, float]) -> None:
    torch.manual_seed(0)
    config = Config((HorizontalFlip(),), (Invert(),), *weights, hidden=16, projection=6)
    method = VICReg(config, build_encoder(encoder, 3, 16))
    draw = Draw(0, "step")
    views = [policy(IMAGES, draw.stream(f"view-{number}")) for number, policy in enumerate(method.policies, 1)]
    with torch.no_grad():
        both = [method.projection_head(method.encoder(view)).double().numpy() for view in views]
        batch = Batches({"unlabelled": Batch(IMAGES, torch.full((12,), -1), torch.arange(12))}, 0.0)
        loss = method.losses(batch, Draw(0, "step")).total.item()
    invariance = ((both[0] - both[1]) ** 2).mean()
    lacking = [np.maximum(0, 1 - np.sqrt(each.var(axis=0, ddof=1) + 1e-4)).mean() for each in both]
    covariances = [np.cov(each, rowvar=False) for each in both]
    covariance = sum((each**2).sum() - (np.diag(each) ** 2).sum() for each in covariances) / 6
    total = weights[0] * invariance + weights[1] * np.mean(lacking) + weights[2] * covariance
    assert loss == pytest.approx(total, rel=1e-5)
