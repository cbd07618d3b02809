"""The autoencoder: loss and latent code."""

import pytest
import torch
from torch import Tensor

from repflow.data.read.batches import Batch, Batches
from repflow.encoders import build_encoder
from repflow.encoders.convolutional import SmallConfig
from repflow.methods.pretext.autoencoder import Autoencoder, Config
from repflow.randomness.draws import Draw

IMAGES = Draw(0, "images").uniform(4, 3, 16, 16)


def test_the_loss_is_the_mean_squared_error_of_the_reconstruction() -> None:
    torch.manual_seed(0)
    method = Autoencoder(Config(codes=5, decoder=(8, 4)), build_encoder(SmallConfig(widths=(8, 16)), 3, 16))
    codes: list[Tensor] = []
    method.decoder.register_forward_pre_hook(lambda module, given: codes.append(given[0]))
    batch = Batches({"unlabelled": Batch(IMAGES, torch.full((4,), -1), torch.arange(4))}, 0.0)
    loss = method.losses(batch, Draw(0, "step")).total.item()
    assert codes[0].shape == (4, 5)
    total = 0.0
    with torch.no_grad():
        for image, code in zip(IMAGES, codes[0], strict=True):
            restored = method.decoder(code[None], (16, 16))[0]
            total += sum(
                (a - b) ** 2 for a, b in zip(restored.flatten().tolist(), image.flatten().tolist(), strict=True)
            )
    assert loss == pytest.approx(total / IMAGES.numel(), rel=1e-5)
    shown = method.figures(IMAGES)
    assert torch.equal(shown[:, 0], IMAGES)
    assert torch.allclose(shown[:, 1], method.reconstruct(IMAGES).clamp(0, 1))
