"""BigBiGAN's losses against a naive loop over pairs and logits."""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from repflow.data.read.batches import Batch, Batches
from repflow.encoders import build_encoder
from repflow.encoders.convolutional import SmallConfig
from repflow.methods.pretext.bigbigan import BigBiGAN, Config
from repflow.randomness.draws import Draw
from repflow.schema import build
from repflow.training import TrainingConfig
from repflow.training.optimisation import build_optimizer

IMAGES = Draw(0, "images").uniform(6, 3, 16, 16)
BATCH = Batches({"unlabelled": Batch(IMAGES, torch.full((6,), -1), torch.arange(6))}, 0.0)


@pytest.fixture
def method() -> BigBiGAN:
    torch.manual_seed(0)
    config = Config(codes=5, generator=(16, 8), discriminator=(8, 16), hidden=12)
    found = BigBiGAN(config, build_encoder(SmallConfig(widths=(8, 16)), 3, 16))
    with torch.no_grad():
        for layer in (found.discriminator.score_image, found.discriminator.score_code, found.discriminator.score_pair):
            layer.weight *= 10  # so that some scores lie beyond the hinge
    return found


def test_the_losses_are_the_paper_s(method: BigBiGAN) -> None:
    draw, judge = Draw(0, "step"), method.discriminator
    codes = draw.stream("codes").normal(6, 5)
    noise = draw.stream("encoded").normal(6, 5)

    def scores(image: torch.Tensor, code: torch.Tensor) -> list[float]:
        """s_x, s_z and s_xz of one pair."""
        seen, read = judge.image(image[None]), judge.code(code[None])
        pair = judge.pair(torch.cat([seen, read], dim=1))
        return [judge.score_image(seen).item(), judge.score_code(read).item(), judge.score_pair(pair).item()]

    discriminator = joint = 0.0
    with torch.no_grad():
        made = method.generator(codes, (16, 16))
        for number in range(6):
            mean, spread = method.to_codes(method.encoder(IMAGES[number : number + 1]))[0].split(5)
            code = mean + torch.log(1 + spread.exp()) * noise[number]
            for y, found in ((1, scores(IMAGES[number], code)), (-1, scores(made[number], codes[number]))):
                discriminator += sum(max(0.0, 1 - y * score) for score in found) / 6
                joint += y * sum(found) / 6
    assert method.discriminate(BATCH, Draw(0, "step")).total.item() == pytest.approx(discriminator, rel=1e-4)
    assert method.generate_and_encode(BATCH, Draw(0, "step")).total.item() == pytest.approx(joint, rel=1e-4, abs=1e-5)


def test_the_encoder_samples_codes_with_gradients_for_mean_and_deviation(method: BigBiGAN) -> None:
    with torch.no_grad():
        many = torch.cat([method.encode(IMAGES, Draw(0, "step", step)) for step in range(400)]).view(400, 6, 5)
        mean, spread = method.to_codes(method.encoder(IMAGES)).chunk(2, dim=1)
    assert torch.allclose(many.mean(0), mean, atol=0.2)
    assert torch.allclose(many.std(0), F.softplus(spread), rtol=0.15)
    method.generate_and_encode(BATCH, Draw(0, "step")).total.backward()
    assert method.to_codes.weight.grad is not None
    assert (method.to_codes.weight.grad.abs().sum(1) > 0).all()


def test_the_encoder_learns_ten_times_as_fast_as_the_generator(configuration: dict[str, Any]) -> None:
    section = configuration["methods"]["pretrain"]["bigbigan"]
    config = build(TrainingConfig, {**section["training"], "steps": 1}, "training").optimizer
    method = BigBiGAN(
        Config(codes=5, generator=(16, 8), discriminator=(8, 16)), build_encoder(SmallConfig(widths=(8, 16)), 3, 16)
    )
    optimizer = build_optimizer(method, config)
    rates = {id(each): group["lr"] for group in optimizer.param_groups for each in group["params"]}

    def rate(*modules: torch.nn.Module) -> float:
        (found,) = {rates[id(each)] for module in modules for each in module.parameters()}
        return float(found)

    generator = rate(method.generator)
    assert rate(method.encoder, method.to_codes) == pytest.approx(10 * generator)
    assert rate(method.discriminator) == pytest.approx(4 * generator)
    assert {group["betas"] for group in optimizer.param_groups} == {(0.0, 0.999)}


def test_all_layers_of_a_spectral_discriminator_are_normalised() -> None:
    torch.manual_seed(0)
    config = Config(codes=5, generator=(16, 8), discriminator=(8, 16), hidden=12, spectral=True)
    judge = BigBiGAN(config, build_encoder(SmallConfig(widths=(8, 16)), 3, 16)).discriminator
    layers = [each for each in judge.modules() if isinstance(each, torch.nn.Conv2d | torch.nn.Linear)]
    assert len(layers) == 3 + 2 + 2 + 3  # F, H, J, and the scores
    for layer in layers:
        largest = np.linalg.svd(layer.weight.detach().flatten(1).numpy(), compute_uv=False)[0]
        assert largest == pytest.approx(1, rel=0.02)


def test_encoder_and_generator_are_updated_together(method: BigBiGAN) -> None:
    first, second = (set(update.modules) for update in method.updates)
    assert first == {method.discriminator}
    assert second == {method.encoder, method.to_codes, method.generator}
