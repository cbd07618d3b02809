"""The GAN's two losses against a naive loop over images, their gradients, and its discriminator's weights."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from repflow.data.read.batches import Batch, Batches
from repflow.data.read.rows import Rows
from repflow.encoders import build_encoder
from repflow.encoders.convolutional import SmallConfig
from repflow.encoders.multi_layer import MultiLayerConfig
from repflow.hardware.devices import HardwareConfig, prepare
from repflow.methods.parts.generator import Generator
from repflow.methods.pretext.gan import GAN, Config
from repflow.randomness.draws import Draw
from repflow.schema import build
from repflow.training import TrainingConfig, train
from repflow.training.optimisation import build_optimizer

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


def test_an_encoder_that_is_read_at_all_layers_is_played_with_at_its_last() -> None:
    inner = SmallConfig(widths=(8, 16))
    torch.manual_seed(0)
    config = Config(codes=8, generator=(16, 8))
    method = GAN(config, build_encoder(MultiLayerConfig(inner=inner, grid=2), 3, 16))
    plain = GAN(config, build_encoder(inner, 3, 16))
    plain.encoder.load_state_dict(method.trunk.state_dict())
    plain.head.load_state_dict(method.head.state_dict())
    assert torch.equal(method.score(IMAGES), plain.score(IMAGES))
    assert method.learned.width == 4 * (8 + 16 + 16)


def test_the_learned_encoder_has_the_normalised_weights_of_the_discriminator() -> None:
    torch.manual_seed(0)
    config = Config(codes=8, generator=(16, 8), spectral=True)
    method = GAN(config, build_encoder(SmallConfig(widths=(8, 16)), 3, 16))
    pixels = (IMAGES * 255).byte().numpy()
    rows = Rows(pixels, np.full(6, -1), np.arange(6), ())
    values = {"steps": 3, "batch_size": 6, "optimizer": {"name": "adam", "learning_rate": 0.01}}
    fabric = prepare(HardwareConfig(threads=1), updates=2)
    train(method, {"unlabelled": rows}, build(TrainingConfig, values, "training"), fabric, seed=0, silent=True)
    fresh = build_encoder(SmallConfig(widths=(8, 16)), 3, 16)
    fresh.load_state_dict(method.learned.state_dict())  # as model files are read
    largest = [
        np.linalg.svd(weight.detach().flatten(1).numpy(), compute_uv=False)[0]
        for weight in (*fresh.parameters(), method.head.weight)
        if weight.ndim > 1
    ]
    assert largest == pytest.approx([1.0] * 4, rel=0.01)


def test_the_players_have_the_rates_of_the_recipe(configuration: dict[str, Any]) -> None:
    section = configuration["methods"]["pretrain"]["gan"]["training"]
    config = build(TrainingConfig, {**section, "steps": 1}, "training").optimizer
    method = new("non_saturating")
    optimizer = build_optimizer(method, config)
    rates = {id(each): group["lr"] for group in optimizer.param_groups for each in group["params"]}
    generator = {rates[id(each)] for each in method.generator.parameters()}
    discriminator = {rates[id(each)] for module in method.discriminator for each in module.parameters()}
    assert (generator, discriminator) == ({2e-4}, {2e-4})
    assert {group["betas"] for group in optimizer.param_groups} == {(0.5, 0.999)}


@pytest.mark.parametrize("size", [(8, 8), (28, 28), (33, 50)])
def test_the_generator_makes_images_of_any_size(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    made = Generator(4, (16, 8), channels=1)(torch.randn(2, 4), size)
    assert made.shape == (2, 1, *size)
    assert made.min() >= 0
    assert made.max() <= 1
    assert not torch.equal(made[0], made[1])
