"""The rotation loss of the self-supervised GAN against a naive loop over images and rotations."""

import numpy as np
import pytest
import torch
from scipy.special import log_softmax

from repflow.data.read.batches import Batch, Batches
from repflow.encoders import build_encoder
from repflow.encoders.convolutional import SmallConfig
from repflow.methods.pretext.gan import GAN
from repflow.methods.pretext.self_supervised_gan import Config, SelfSupervisedGAN
from repflow.randomness.draws import Draw

IMAGES = Draw(0, "images").uniform(8, 3, 16, 16)
BATCH = Batches({"unlabelled": Batch(IMAGES, torch.full((8,), -1), torch.arange(8))}, 0.0)


@pytest.fixture
def method() -> SelfSupervisedGAN:
    torch.manual_seed(0)
    config = Config(loss="hinge", codes=8, generator=(16, 8), turned=0.25, discriminator_weight=1.5)
    return SelfSupervisedGAN(config, build_encoder(SmallConfig(widths=(8, 16)), 3, 16))


def cross_entropy_of_turns(method: SelfSupervisedGAN, images: torch.Tensor) -> float:
    total = 0.0
    for image in images.numpy():
        for turns in range(4):
            turned = torch.from_numpy(np.rot90(image, turns, axes=(1, 2)).copy())
            with torch.no_grad():
                logits = method.rotation_head(method.encoder(turned[None]))[0].double().numpy()
            total -= log_softmax(logits)[turns]
    return total / (4 * len(images))


def test_each_player_adds_the_rotation_loss_of_its_own_images(method: SelfSupervisedGAN) -> None:
    with torch.no_grad():
        made = method.sample(8, (16, 16), Draw(0, "step"))
    real, fake = (cross_entropy_of_turns(method, images[:2]) for images in (IMAGES, made))
    discriminator, generator = (GAN.discriminator_losses(method, IMAGES, made), GAN.generator_losses(method, made))
    found = method.discriminate(BATCH, Draw(0, "step"))
    assert found.total.item() == pytest.approx(discriminator.total.item() + 1.5 * real, rel=1e-4)
    found = method.generate(BATCH, Draw(0, "step"))
    assert found.total.item() == pytest.approx(generator.total.item() + 0.2 * fake, rel=1e-4)


def test_both_heads_of_the_discriminator_are_normalised_with_it() -> None:
    torch.manual_seed(0)
    config = Config(loss="hinge", codes=8, generator=(16, 8), spectral=True)
    method = SelfSupervisedGAN(config, build_encoder(SmallConfig(widths=(8, 16)), 3, 16))
    for _ in range(100):
        method.after_step()
    weights = [method.head.weight, method.rotation_head.weight, method.encoder.body.maps[0][0].weight]
    largest = [np.linalg.svd(each.detach().flatten(1).numpy(), compute_uv=False)[0] for each in weights]
    assert largest == pytest.approx([1.0] * 3, rel=1e-3)


def test_rotation_gradients_reach_the_generator_in_its_own_update_only(method: SelfSupervisedGAN) -> None:
    method.head.weight.data.zero_()  # nothing to gain from the game
    weights = list(method.generator.parameters())
    method.discriminate(BATCH, Draw(0, "step")).total.backward()
    assert all(each.grad is None for each in weights)
    method.generate(BATCH, Draw(0, "step")).total.backward()
    assert all(each.grad is not None and each.grad.abs().sum() > 0 for each in weights)
    assert [set(update.modules) for update in method.updates] == [
        {method.encoder, method.head, method.rotation_head},
        {method.generator},
    ]
