"""Adversarial colorization: both players' losses against binary cross-entropies, and their gradients."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from repflow.augment.color_spaces import rgb_to_lab
from repflow.data.read.batches import Batch, Batches
from repflow.encoders import build_encoder
from repflow.encoders.convolutional import SmallConfig
from repflow.encoders.encoder import Pooled
from repflow.encoders.lightness import LightnessConfig, LightnessEncoder
from repflow.methods.pretext.adversarial_colorization import AdversarialColorization, Config
from repflow.randomness.draws import Draw

IMAGES = Draw(0, "images").uniform(6, 3, 16, 16)
BATCH = Batches({"unlabelled": Batch(IMAGES, torch.full((6,), -1), torch.arange(6))}, 0.0)


@pytest.fixture
def method() -> AdversarialColorization:
    torch.manual_seed(0)
    config = Config(distance=10.0, noise=0.0, decoder=(8, 8), discriminator=(8, 8))
    return AdversarialColorization(config, build_encoder(SmallConfig(widths=(8, 16)), 3, 16)).eval()


def cross_entropy(scores: Tensor, answer: float) -> Tensor:
    return F.binary_cross_entropy_with_logits(scores, torch.full_like(scores, answer))


def scored(method: AdversarialColorization, colour: Tensor) -> Tensor:
    """The discriminator on single images, lightness and colour in one."""
    lightness = rgb_to_lab(IMAGES)[:, :1] / 50 - 1
    return torch.cat([method.discriminator(torch.cat(pair)[None]) for pair in zip(lightness, colour, strict=True)])


def test_the_generator_s_loss(method: AdversarialColorization) -> None:
    found = method(BATCH, Draw(0, "step"), 1)
    made = method.colours(IMAGES)
    error = (made - rgb_to_lab(IMAGES)[:, 1:] / 110).abs().mean()
    expected = cross_entropy(scored(method, made), 1.0) + 10 * error
    assert found.total.item() == pytest.approx(expected.item(), rel=1e-5)


def test_the_discriminator_s_loss_and_gradients(method: AdversarialColorization) -> None:
    found = method(BATCH, Draw(0, "step"), 0)
    real = scored(method, rgb_to_lab(IMAGES)[:, 1:] / 110)
    made = scored(method, method.colours(IMAGES))
    expected = (cross_entropy(real, 1.0) + cross_entropy(made, 0.0)) / 2
    assert found.total.item() == pytest.approx(expected.item(), rel=1e-5)
    found.total.backward()
    assert all(weight.grad is None for weight in method.encoder.parameters())
    assert all(weight.grad is not None for weight in method.discriminator.parameters())


def test_the_discriminator_sees_the_lightness(method: AdversarialColorization) -> None:
    colour = torch.zeros(6, 2, 16, 16)
    dark, bright = (method.score(torch.full((6, 1, 16, 16), level), colour) for level in (-1.0, 1.0))
    assert not torch.allclose(dark, bright)


def test_encoder_and_decoder_get_no_colour(method: AdversarialColorization) -> None:
    turned = IMAGES.roll(1, dims=1)
    assert isinstance(method.encoder.body, Pooled)
    seen: list[Tensor] = []
    method.encoder.body.maps.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    method.colours(turned)
    assert (seen[0].amax(1) - seen[0].amin(1)).max() < 1e-2


def test_an_encoder_of_lightness_learns_from_what_it_reads() -> None:
    torch.manual_seed(0)
    encoder = build_encoder(LightnessConfig(inner=SmallConfig(widths=(8, 16))), 3, 16)
    method = AdversarialColorization(Config(noise=0.0, decoder=(8, 8), discriminator=(8, 8)), encoder)
    seen: list[Tensor] = []
    assert isinstance(encoder, LightnessEncoder)
    assert isinstance(encoder.inner.body, Pooled)
    encoder.inner.body.maps.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    for update in (0, 1):
        method(BATCH, Draw(0, "step"), update)
    encoder(IMAGES)
    assert torch.equal(seen[0], seen[2])
    assert torch.equal(seen[1], seen[2])
    assert seen[2].shape[1] == 1


def test_dropout_noise_is_active_in_training_only() -> None:
    torch.manual_seed(0)
    encoder = build_encoder(SmallConfig(widths=(8, 16)), 3, 16)
    method = AdversarialColorization(Config(noise=0.5, decoder=(8, 8)), encoder)
    one, other = (method(BATCH, Draw(seed, "step"), 1).total for seed in (0, 1))
    assert one != other
    method.eval()
    assert torch.equal(method.figures(IMAGES), method.figures(IMAGES))
    assert method.figures(IMAGES).shape == (6, 3, 3, 16, 16)
