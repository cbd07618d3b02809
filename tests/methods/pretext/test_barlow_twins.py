"""The loss of Barlow Twins against a naive loop over correlations."""

import numpy as np
import pytest
import torch

from repflow.augment.operations import HorizontalFlip, Invert
from repflow.data.read.batches import Batch, Batches
from repflow.encoders import build_encoder
from repflow.encoders.convolutional import SmallConfig
from repflow.encoders.small_residual import SmallResNetConfig
from repflow.methods.pretext.barlow_twins import BarlowTwins, Config
from repflow.randomness.draws import Draw

IMAGES = Draw(0, "images").uniform(12, 3, 16, 16)
ENCODERS = [SmallConfig(widths=(8, 16)), SmallResNetConfig(widths=(8, 16))]
"""Without and with batch normalisation, whose statistics are those of one view."""


@pytest.mark.parametrize("encoder", ENCODERS, ids=lambda encoder: encoder.name)
def test_the_loss_is_the_paper_s(encoder: SmallConfig | SmallResNetConfig) -> None:
    torch.manual_seed(0)
    config = Config(augment=(HorizontalFlip(),), second=(Invert(),), redundancy=0.02, hidden=16, projection=6)
    method = BarlowTwins(config, build_encoder(encoder, 3, 16))
    draw = Draw(0, "step")
    views = [policy(IMAGES, draw.stream(f"view-{number}")) for number, policy in enumerate(method.policies, 1)]
    with torch.no_grad():
        first, second = (method.projection_head(method.encoder(view)).double().numpy() for view in views)
        batch = Batches({"unlabelled": Batch(IMAGES, torch.full((12,), -1), torch.arange(12))}, 0.0)
        loss = method.losses(batch, Draw(0, "step")).total.item()
    total = 0.0
    for i in range(6):
        for j in range(6):
            correlation = np.corrcoef(first[:, i], second[:, j])[0, 1]
            total += (1 - correlation) ** 2 if i == j else 0.02 * correlation**2
    assert loss == pytest.approx(total, rel=1e-3)  # 1e-5 is added to the variances before their root is taken
