"""The masked autoencoder: equality with another implementation, visible patches, order of decoder tokens, and loss."""

from functools import partial
from typing import Any

import pytest
import torch
from lightly.models import utils
from lightly.models.modules.masked_vision_transformer_decoder_timm import MaskedVisionTransformerDecoderTIMM
from lightly.models.modules.masked_vision_transformer_timm import MaskedVisionTransformerTIMM
from timm.models.vision_transformer import VisionTransformer
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


def new(normalise: bool = True, layers: int = 1) -> MaskedAutoencoder:
    torch.manual_seed(0)
    encoder = build_encoder(
        ViTConfig(patch=4, layers=layers, features="mean", positions="sine_cosine", initial="xavier"), 3, 16
    )
    encoder.set_normalisation(torch.tensor([0.4, 0.5, 0.6]), torch.tensor([0.1, 0.2, 0.3]))
    return MaskedAutoencoder(Config(width=12, layers=layers, heads=2, normalise=normalise), encoder)


def restored(method: MaskedAutoencoder, images: Tensor) -> tuple[Tensor, float]:
    """All patches as the decoder leaves them [B, N, pixels], and the loss."""
    seen: list[Tensor] = []
    handle = method.decoder_output.register_forward_hook(lambda module, given, result: seen.append(result.detach()))
    loss = method.losses(batches(images), Draw(0, "step")).total.item()
    handle.remove()
    return seen[0], loss


def copy_block(theirs: Any, ours: Any) -> None:
    """Copy the weights of torchvision's block to timm's."""
    theirs.attn.qkv.weight.copy_(ours.self_attention.in_proj_weight)
    theirs.attn.qkv.bias.copy_(ours.self_attention.in_proj_bias)
    pairs = (
        (theirs.norm1, ours.ln_1),
        (theirs.attn.proj, ours.self_attention.out_proj),
        (theirs.norm2, ours.ln_2),
        (theirs.mlp.fc1, ours.mlp[0]),
        (theirs.mlp.fc2, ours.mlp[3]),
    )
    for theirs, ours in pairs:
        theirs.load_state_dict(ours.state_dict())


class Reference(nn.Module):
    """lightly's parts of a masked autoencoder, around timm's blocks, with the weights of ours but not its positions."""

    def __init__(self, method: MaskedAutoencoder, layers: int):
        super().__init__()
        norm: Any = partial(nn.LayerNorm, eps=1e-6)
        vit = VisionTransformer(16, 4, 3, 0, "token", 192, layers, 3, norm_layer=norm)
        self.encoder = MaskedVisionTransformerTIMM(vit)
        self.decoder = MaskedVisionTransformerDecoderTIMM(16, 12, layers, 2)
        self.embedding, self.prediction = nn.Linear(192, 12), nn.Linear(12, 48)
        ours = method.tokens.transformer
        with torch.no_grad():
            vit.patch_embed.proj.load_state_dict(ours.conv_proj.state_dict())
            vit.cls_token.copy_(ours.class_token)
            vit.norm.load_state_dict(ours.encoder.ln.state_dict())
            self.embedding.load_state_dict(method.decoder_input.state_dict())
            self.decoder.mask_token.copy_(method.mask_token)
            *blocks, last = method.decoder
            self.decoder.norm.load_state_dict(last.state_dict())
            for theirs, its in zip([*vit.blocks, *self.decoder.blocks], [*ours.encoder.layers, *blocks], strict=True):
                copy_block(theirs, its)
            # Theirs has the channels of a pixel beside each other, ours the pixels of a channel.
            self.prediction.weight.copy_(
                method.decoder_output.weight.unflatten(0, (3, 16)).transpose(0, 1).flatten(0, 1)
            )
            self.prediction.bias.copy_(method.decoder_output.bias.view(3, 16).T.flatten())

    def forward(self, normal: Tensor, order: Tensor, standardise: bool) -> tuple[Tensor, Tensor]:
        """Predictions of masked patches and the loss, from normalised images; the first 4 of `order` are visible."""
        class_token = torch.zeros(len(order), 1, dtype=torch.int64)
        kept, removed = torch.cat([class_token, 1 + order[:, :4]], dim=1), 1 + order[:, 4:]
        encoded = self.embedding(self.encoder.encode(normal, idx_keep=kept))
        masked = utils.repeat_token(self.decoder.mask_token, (len(order), 17))
        whole = self.decoder.add_pos_embed(utils.set_at_index(masked, kept, encoded))
        predicted = self.prediction(utils.get_at_index(self.decoder.decode(whole), removed))
        wanted = utils.get_at_index(utils.patchify(normal, 4), removed - 1)
        if standardise:
            wanted = utils.normalize_mean_var(wanted)
        return predicted, nn.functional.mse_loss(predicted, wanted)


@pytest.mark.parametrize("normalise", [True, False])
def test_predictions_loss_and_gradients_are_those_of_another_implementation(normalise: bool) -> None:
    method = new(normalise, layers=2)
    reference = Reference(method, layers=2)
    wanted, loss = reference(method.encoder.normalise(IMAGES), ORDER, normalise)
    ours, found = restored(method, IMAGES)
    predicted = ours.gather(1, ORDER[:, 4:, None].expand(-1, -1, 48)).unflatten(2, (3, 16)).transpose(2, 3).flatten(2)
    assert torch.allclose(predicted, wanted, atol=1e-5)
    assert found == pytest.approx(loss.item(), rel=1e-5)
    method.losses(batches(IMAGES), Draw(0, "step")).total.backward()
    loss.backward()
    pairs: tuple[tuple[Any, Any], ...] = (
        (method.mask_token, reference.decoder.mask_token),
        (method.tokens.transformer.class_token, reference.encoder.vit.cls_token),
        (method.tokens.transformer.conv_proj.weight, reference.encoder.vit.patch_embed.proj.weight),
    )
    for mine, theirs in pairs:
        assert torch.allclose(mine.grad, theirs.grad, rtol=1e-3, atol=1e-6)
    positions = {name for name, _ in method.named_parameters() if "pos" in name}
    assert not positions, "positions are fixed"


def test_every_decoder_layer_has_weights_of_its_own_by_the_xavier_rule() -> None:
    method = new(layers=2)
    seen: list[Tensor] = []
    for linear in method.modules():
        if isinstance(linear, nn.Linear) and linear is not method.decoder_output:
            seen.append(linear.weight.detach())
            assert not linear.bias.any()
    for attention in method.modules():
        if isinstance(attention, nn.MultiheadAttention):
            seen.append(attention.in_proj_weight.detach())
    for weight in seen:
        outputs, inputs = weight.shape
        assert weight.abs().max() <= (6 / (inputs + outputs)) ** 0.5
        assert weight.square().mean().sqrt().item() == pytest.approx((2 / (inputs + outputs)) ** 0.5, rel=0.15)
    different = {weight.flatten()[0].item() for weight in seen}
    assert len(different) == len(seen) == 1 + 4 * 4


@pytest.mark.parametrize("normalise", [True, False])
def test_the_loss_is_the_squared_error_of_masked_patches(normalise: bool) -> None:
    method = new(normalise)
    found, loss = restored(method, IMAGES)
    errors = []
    normal = method.encoder.normalise(IMAGES).double()
    for image, patches, order in zip(normal, found.double(), ORDER.tolist(), strict=True):
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
    method: Any = new()
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
    encoder: Any = build_encoder(ViTConfig(patch=4, layers=2), 3, 16).eval()
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


@pytest.mark.parametrize(("width", "heads"), [(18, 3), (16, 3)])
def test_a_width_that_positions_or_heads_do_not_divide_is_refused(width: int, heads: int) -> None:
    encoder = build_encoder(ViTConfig(patch=4, layers=1), 3, 16)
    with pytest.raises(
        ParameterError, match=rf"settings\.width: {width} is not a multiple of both 4 and settings\.heads, 3"
    ):
        MaskedAutoencoder(Config(width=width, heads=heads), encoder)


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

    patches = patches_of(method.encoder.normalise(IMAGES), 4)
    mean, deviation = method.scale(patches)
    monkeypatch.setattr(method, "predict", lambda normal, draw: ((patches - mean) / deviation, ORDER[:, 4:]))
    assert torch.allclose(method.figures(IMAGES)[:, 2], IMAGES, atol=1e-5)
    assert torch.equal(image_of(patches_of(IMAGES, 4), (16, 16)), IMAGES)
