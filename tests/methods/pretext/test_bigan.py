"""BiGAN's losses against a naive loop over pairs, and their gradients."""

import math

import numpy as np
import pytest
import torch

from repflow.data.read.batches import Batch, Batches
from repflow.encoders import build_encoder
from repflow.encoders.convolutional import SmallConfig
from repflow.methods.pretext.bigan import BiGAN, Config
from repflow.randomness.draws import Draw

IMAGES = Draw(0, "images").uniform(6, 3, 16, 16)
BATCH = Batches({"unlabelled": Batch(IMAGES, torch.full((6,), -1), torch.arange(6))}, 0.0)


@pytest.fixture
def method() -> BiGAN:
    torch.manual_seed(0)
    config = Config(codes=5, generator=(16, 8), discriminator=(8, 16), hidden=12)
    found = BiGAN(config, build_encoder(SmallConfig(widths=(8, 16)), 3, 16))
    with torch.no_grad():
        found.discriminator.together[-1].weight *= 10
    return found


def test_the_losses_are_the_paper_s(method: BiGAN) -> None:
    codes = Draw(0, "step").stream("codes").uniform(6, 5, low=-1.0, high=1.0)

    def chance(image: torch.Tensor, code: torch.Tensor) -> float:
        """That the pair is of the encoder."""
        together = torch.cat([method.discriminator.image(image[None]), code[None]], dim=1)
        return 1 / (1 + math.exp(-method.discriminator.together(together).double().item()))

    with torch.no_grad():
        made = method.generator(codes, (16, 16))
        encoded = [
            chance(image, 2 / (1 + (-method.to_codes(method.encoder(image[None]))[0]).exp()) - 1) for image in IMAGES
        ]
        decoded = [chance(image, code) for image, code in zip(made, codes, strict=True)]
    value = (sum(math.log(each) for each in encoded) + sum(math.log(1 - each) for each in decoded)) / 6
    exchanged = (sum(math.log(1 - each) for each in encoded) + sum(math.log(each) for each in decoded)) / 6
    found = method.discriminate(BATCH, Draw(0, "step"))
    assert found.total.item() == pytest.approx(-value, rel=1e-4)
    assert method.generate_and_encode(BATCH, Draw(0, "step")).total.item() == pytest.approx(-exchanged, rel=1e-4)


def test_codes_of_images_lie_where_random_ones_do(method: BiGAN) -> None:
    with torch.no_grad():
        method.to_codes.weight *= 100
        assert method.encode(IMAGES, Draw(0, "step")).abs().max() <= 1


def test_the_discriminator_depends_on_the_pairing_of_images_and_codes(method: BiGAN) -> None:
    """Permuted codes give other logits."""
    with torch.no_grad():
        codes = method.to_codes(method.encoder(IMAGES))
        right, wrong = (method.discriminator(IMAGES, each) for each in (codes, codes.roll(1, 0)))
    assert (right - wrong).abs().min() > 0


def test_a_spectral_discriminator_follows_a_code_no_faster_than_it_moves() -> None:
    """With layers of norm 1 and rectifiers, a score moves at most as far as the code does."""
    torch.manual_seed(0)
    config = Config(codes=5, generator=(16, 8), discriminator=(8, 16), hidden=12, spectral=True)
    method = BiGAN(config, build_encoder(SmallConfig(widths=(8, 16)), 3, 16))
    layers = [each for each in method.discriminator.modules() if isinstance(each, torch.nn.Conv2d | torch.nn.Linear)]
    with torch.no_grad():
        for layer in layers:
            layer.parametrizations.weight.original *= 5
        for _ in range(100):
            method.after_step()
    assert len(layers) == 5
    for layer in layers:
        assert np.linalg.svd(layer.weight.detach().flatten(1).numpy(), compute_uv=False)[0] == pytest.approx(
            1, rel=1e-3
        )
    assert not any(isinstance(each, torch.nn.GroupNorm) for each in method.discriminator.modules())
    codes = Draw(0, "codes").uniform(6, 5)
    moved = codes + 0.1 * Draw(0, "moves").normal(6, 5)
    with torch.no_grad():
        change = (method.discriminator(IMAGES, codes) - method.discriminator(IMAGES, moved)).abs()
    assert (change <= (codes - moved).norm(dim=1)).all()
    assert change.min() > 0


def test_encoder_and_generator_are_updated_together(method: BiGAN) -> None:
    first, second = (set(update.modules) for update in method.updates)
    assert first == {method.discriminator}
    assert second == {method.encoder, method.to_codes, method.generator}
    method.generate_and_encode(BATCH, Draw(0, "step")).total.backward()
    for module in second:
        assert all(each.grad is not None and each.grad.abs().sum() > 0 for each in module.parameters())
