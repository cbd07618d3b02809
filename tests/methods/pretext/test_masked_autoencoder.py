"""The masked autoencoder: visible patches, order of decoder tokens, and loss."""

import pytest
import torch
from torch import Tensor, nn

from repflow.data.read.batches import Batch, Batches
from repflow.encoders import build_encoder
from repflow.encoders.convolutional import SmallConfig
from repflow.encoders.transformer import ViTConfig
from repflow.errors import ParameterError
from repflow.methods.pretext.masked_autoencoder import Config, MaskedAutoencoder, image_of, patches_of
from repflow.randomness.draws import Draw

IMAGES = Draw(0, "images").uniform(4, 3, 16, 16)
ORDER = Draw(0, "step").stream("mask").uniform(4, 16).argsort(dim=1)
"""Of the 16 patches of each image; the first 4 stay."""


def batches(images: Tensor) -> Batches:
    return Batches({"unlabelled": Batch(images, torch.full((4,), -1), torch.arange(4))}, 0.0)


def new(normalise: bool = True) -> MaskedAutoencoder:
    torch.manual_seed(0)
    config = Config(width=12, layers=1, heads=2, normalise=normalise)
    return MaskedAutoencoder(config, build_encoder(ViTConfig(patch=4, layers=1), 3, 16))


def restored(method: MaskedAutoencoder, images: Tensor) -> tuple[Tensor, float]:
    """All patches as the decoder leaves them [B, N, pixels], and the loss."""
    seen: list[Tensor] = []
    handle = method.decoder_output.register_forward_hook(lambda module, given, result: seen.append(result.detach()))
    loss = method.losses(batches(images), Draw(0, "step")).total.item()
    handle.remove()
    return seen[0], loss


@pytest.mark.parametrize("normalise", [True, False])
def test_the_loss_is_the_squared_error_of_masked_patches(normalise: bool) -> None:
    method = new(normalise)
    found, loss = restored(method, IMAGES)
    errors = []
    for image, patches, order in zip(IMAGES.double(), found.double(), ORDER.tolist(), strict=True):
        for place in order[4:]:
            row, column = divmod(place, 4)
            wanted = image[:, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4].flatten()
            if normalise:
                variance = ((wanted - wanted.mean()) ** 2).sum() / (len(wanted) - 1)
                wanted = (wanted - wanted.mean()) / (variance + 1e-6).sqrt()
            errors.append(((patches[place] - wanted) ** 2).mean().item())
    assert len(errors) == 4 * 12
    assert loss == pytest.approx(sum(errors) / len(errors), rel=1e-5)


def painted(places: Tensor) -> Tensor:
    """The images with the patches `chosen` [B, n] set to black."""
    images = IMAGES.clone()
    for image, chosen in zip(images, places.tolist(), strict=True):
        for row, column in (divmod(place, 4) for place in chosen):
            image[:, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4] = 0
    return images


def test_masked_patches_are_not_seen() -> None:
    method = new()
    (found, loss), (other, changed) = (restored(method, images) for images in (IMAGES, painted(ORDER[:, 4:])))
    assert torch.equal(found, other)
    assert loss != changed
    assert not torch.equal(found, restored(method, painted(ORDER[:, :1]))[0])


def test_the_decoder_input_restores_the_order_with_mask_tokens() -> None:
    method = new()
    method.decoder_input = nn.Linear(192, 12, bias=False)
    method.decoder, method.decoder_output = nn.Identity(), nn.Identity()
    nn.init.zeros_(method.positions)
    seen = torch.randn(4, 1 + 4, 192)
    with torch.no_grad():
        found, entered = method.decode(seen, ORDER), method.decoder_input(seen)
    for number, order in enumerate(ORDER.tolist()):
        for rank, place in enumerate(order):
            wanted = entered[number, 1 + rank] if rank < 4 else method.mask_token[0, 0]
            assert torch.allclose(found[number, place], wanted, atol=1e-6)


def test_with_all_patches_the_encoder_equals_torchvision_s() -> None:
    encoder = build_encoder(ViTConfig(patch=4, layers=2), 3, 16).eval()
    with torch.no_grad():
        normal = encoder.normalise(IMAGES)
        assert torch.allclose(encoder(IMAGES), encoder.body.transformer(normal), atol=1e-5)


def test_patches_contain_their_pixels_row_by_row() -> None:
    patches = patches_of(IMAGES, 4)
    assert patches.shape == (4, 16, 48)
    assert torch.equal(patches[1, 6].view(3, 4, 4), IMAGES[1, :, 4:8, 8:12])


def test_an_encoder_other_than_a_transformer_is_refused() -> None:
    with pytest.raises(ParameterError, match="masked_autoencoder needs a vision transformer"):
        MaskedAutoencoder(Config(), build_encoder(SmallConfig(), 3, 16))


@pytest.mark.parametrize("normalise", [True, False])
def test_figures_show_visible_patches_and_a_perfect_prediction_is_the_image(
    normalise: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = new(normalise).eval()
    image, seen, whole = method.figures(IMAGES).unbind(1)
    assert torch.equal(image, IMAGES)
    there = (patches_of(seen, 4) == patches_of(IMAGES, 4)).all(dim=2)
    assert there.sum(dim=1).tolist() == [4] * 4
    assert (patches_of(seen, 4)[~there] == 0.5).all()
    assert torch.equal(patches_of(whole, 4)[there], patches_of(IMAGES, 4)[there])
    assert not torch.allclose(whole, IMAGES)

    patches = patches_of(IMAGES, 4)
    mean, deviation = method.scale(patches)
    monkeypatch.setattr(method, "predict", lambda images, draw: ((patches - mean) / deviation, ORDER[:, 4:]))
    assert torch.allclose(method.figures(IMAGES)[:, 2], IMAGES, atol=1e-5)
    assert torch.equal(image_of(patches, (16, 16)), IMAGES)
