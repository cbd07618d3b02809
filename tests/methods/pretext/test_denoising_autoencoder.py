"""The denoising autoencoder: corruptions, loss and figures."""

import pytest
import torch
from torch import Tensor

from repflow.data.read.batches import Batch, Batches
from repflow.encoders import build_encoder
from repflow.encoders.convolutional import SmallConfig
from repflow.methods.parts.decoder import Decoder
from repflow.methods.pretext.denoising_autoencoder import Config, Corruption, DenoisingAutoencoder, corrupt
from repflow.randomness.draws import Draw

IMAGES = Draw(0, "images").uniform(8, 3, 32, 32, low=0.2, high=0.8)


MEAN = torch.tensor([0.3, 0.5, 0.6]).view(3, 1, 1)


def corrupted_by(corruption: Corruption, strength: float) -> Tensor:
    return corrupt(IMAGES, MEAN, Config(corruption=corruption, strength=strength), Draw(0, "noise"))


@pytest.mark.parametrize(("corruption", "value"), [("masking", torch.zeros_like(MEAN)), ("mean", MEAN)])
def test_the_same_number_of_pixels_of_each_image_is_lost_in_all_channels(corruption: Corruption, value: Tensor) -> None:
    corrupted = corrupted_by(corruption, 0.3)
    lost = corrupted == value
    assert torch.equal(lost.all(1), lost.any(1))
    assert torch.equal(corrupted[~lost], IMAGES[~lost])
    assert lost[:, 0].sum((1, 2)).tolist() == [round(0.3 * 32 * 32)] * 8
    assert not torch.equal(lost[0], lost[1])
    rows, columns = lost[:, 0].float().mean((0, 2)), lost[:, 0].float().mean((0, 1))
    assert rows.min() > 0.2, "anywhere in the image"
    assert columns.max() < 0.4


def test_the_encoder_sees_mean_pixels_as_zero() -> None:
    torch.manual_seed(0)
    config = Config(corruption="mean", strength=0.3)
    method = DenoisingAutoencoder(config, build_encoder(SmallConfig(widths=(8, 16)), 3, 32))
    method.encoder.set_normalisation(MEAN.flatten(), torch.tensor([0.1, 0.2, 0.3]))
    normal = method.encoder.normalise(method.corrupted(IMAGES, Draw(0, "noise")))
    assert (normal == 0).all(1).sum((1, 2)).tolist() == [round(0.3 * 32 * 32)] * 8


def test_salt_and_pepper_sets_half_of_the_corrupted_pixels_to_white() -> None:
    corrupted = corrupted_by("salt_and_pepper", 0.4)
    black, white = (corrupted == 0).all(1), (corrupted == 1).all(1)
    assert black.float().mean() == pytest.approx(0.2, abs=0.02)
    assert white.float().mean() == pytest.approx(0.2, abs=0.02)
    stayed = ~(black | white)[:, None].expand_as(IMAGES)
    assert torch.equal(corrupted[stayed], IMAGES[stayed])


def test_gaussian_noise_has_the_configured_deviation() -> None:
    noise = corrupted_by("gaussian", 0.2) - IMAGES
    assert noise.mean().item() == pytest.approx(0, abs=0.01)
    assert noise.std().item() == pytest.approx(0.2, abs=0.01)


def batches(images: Tensor) -> Batches:
    return Batches({"unlabelled": Batch(images, torch.full((len(images),), -1), torch.arange(len(images)))}, 0.0)


def test_the_loss_is_the_mean_squared_error_to_the_clean_image() -> None:
    torch.manual_seed(0)
    method = DenoisingAutoencoder(
        Config(corruption="masking", strength=0.5), build_encoder(SmallConfig(widths=(8, 16)), 3, 32)
    )
    seen: list[Tensor] = []
    method.encoder.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    loss = method.losses(batches(IMAGES), Draw(0, "step")).total
    with torch.no_grad():
        restored = method.decoder(method.encoder(seen[0]), (32, 32))
    assert (seen[0] == 0).float().mean() > 0.4, "the encoder sees the corrupted image"
    naive = sum(((a - b) ** 2).double().sum().item() for a, b in zip(restored, IMAGES, strict=True)) / IMAGES.numel()
    assert loss.item() == pytest.approx(naive, rel=1e-5)


@pytest.mark.parametrize("size", [(8, 8), (28, 28), (33, 50)])
def test_the_decoder_makes_images_of_any_size(size: tuple[int, int]) -> None:
    assert Decoder(16, (8, 4), channels=1)(torch.zeros(2, 16), size).shape == (2, 1, *size)


def test_figures_show_image_corruption_and_reconstruction() -> None:
    torch.manual_seed(0)
    config = Config(corruption="masking", strength=0.3, decoder=(8,))
    method = DenoisingAutoencoder(config, build_encoder(SmallConfig(widths=(8, 16)), 3, 32)).eval()
    image, corrupted, restored = method.figures(IMAGES).unbind(1)
    assert torch.equal(image, IMAGES)
    assert (corrupted == 0).float().mean().item() == pytest.approx(0.3, abs=0.02)
    assert torch.allclose(restored, method.reconstruct(corrupted).clamp(0, 1))
