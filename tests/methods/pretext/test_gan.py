"""The GAN's two losses against a naive loop over images, and their gradients."""

import math

import pytest
import torch

from repflow.data.read.batches import Batch, Batches
from repflow.encoders import build_encoder
from repflow.encoders.convolutional import SmallConfig
from repflow.methods.parts.generator import Generator
from repflow.methods.pretext.gan import GAN, Config
from repflow.randomness.draws import Draw

IMAGES = Draw(0, "images").uniform(6, 3, 16, 16)
BATCH = Batches({"unlabelled": Batch(IMAGES, torch.full((6,), -1), torch.arange(6))}, 0.0)


def new(loss: str) -> GAN:
    torch.manual_seed(0)
    config = Config(loss=loss, codes=8, generator=(16, 8))
    return GAN(config, build_encoder(SmallConfig(widths=(8, 16)), 3, 16))


def chances(method: GAN, images: torch.Tensor) -> list[float]:
    """The score of each image alone."""
    with torch.no_grad():
        return [method.head(method.encoder(image[None])).double().item() for image in images]


@pytest.mark.parametrize("loss", ["non_saturating", "hinge"])
def test_the_losses_are_the_papers(loss: str) -> None:
    method = new(loss)
    with torch.no_grad():
        method.head.weight *= 20  # so that some scores lie beyond the hinge
        made = method.sample(6, (16, 16), Draw(0, "step"))
    real, fake = chances(method, IMAGES), chances(method, made)
    if loss == "hinge":
        discriminator = sum(max(0, 1 - each) for each in real) / 6 + sum(max(0, 1 + each) for each in fake) / 6
        generator = -sum(fake) / 6
    else:
        probability = {score: 1 / (1 + math.exp(-score)) for score in (*real, *fake)}
        discriminator = -sum(math.log(probability[each]) for each in real) / 6
        discriminator -= sum(math.log(1 - probability[each]) for each in fake) / 6
        generator = -sum(math.log(probability[each]) for each in fake) / 6
    told = method.discriminate(BATCH, Draw(0, "step"))
    assert told.total.item() == pytest.approx(discriminator, rel=1e-4)
    right = sum(each > 0 for each in real) + sum(each < 0 for each in fake)
    assert told.metrics["discriminator_accuracy"].item() == pytest.approx(right / 12)
    assert method.generate(BATCH, Draw(0, "step")).total.item() == pytest.approx(generator, rel=1e-4)


def test_the_generator_has_gradients_in_its_own_update_only() -> None:
    method = new("non_saturating")
    weights = list(method.generator.parameters())
    method.discriminate(BATCH, Draw(0, "step")).total.backward()
    assert all(each.grad is None for each in weights)
    method.generate(BATCH, Draw(0, "step")).total.backward()
    assert all(each.grad is not None and each.grad.abs().sum() > 0 for each in weights)
    learners = [set(update.modules) for update in method.updates]
    assert learners == [{method.encoder, method.head}, {method.generator}]


@pytest.mark.parametrize("size", [(8, 8), (28, 28), (33, 50)])
def test_the_generator_makes_images_of_any_size(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    made = Generator(4, (16, 8), channels=1)(torch.randn(2, 4), size)
    assert made.shape == (2, 1, *size)
    assert made.min() >= 0
    assert made.max() <= 1
    assert not torch.equal(made[0], made[1])
