"""The damaged jigsaw: its three losses against a naive loop over puzzles, and the encoder's input."""

import pytest
import torch
import torch.nn.functional as F
from scipy.special import log_softmax

from repflow.augment.color_spaces import rgb_to_lab, without_colour
from repflow.data.read.batches import Batch, Batches
from repflow.encoders import build_encoder
from repflow.encoders.convolutional import SmallConfig
from repflow.encoders.encoder import Pooled
from repflow.encoders.lightness import LightnessConfig, lightness
from repflow.encoders.tiled import TiledConfig, TiledEncoder
from repflow.methods.pretext.damaged_jigsaw import Config, DamagedJigsaw
from repflow.randomness.draws import Draw

IMAGES = Draw(0, "images").uniform(4, 3, 32, 32)
BATCH = Batches({"unlabelled": Batch(IMAGES, torch.full((4,), -1), torch.arange(4))}, 0.0)


@pytest.fixture
def method() -> DamagedJigsaw:
    torch.manual_seed(0)
    config = Config(
        permutations=20,
        side=12,
        normalise=False,
        tile_width=8,
        hidden=16,
        solving=0.5,
        painting=3.0,
        colouring=0.7,
        decoder=(8,),
        grid=40.0,
        places=2,
    )
    return DamagedJigsaw(config, build_encoder(SmallConfig(widths=(8, 16)), 3, 32))


def test_the_encoder_gets_grey_tiles_and_noise(method: DamagedJigsaw) -> None:
    draw = Draw(0, "step")
    tiles, _ = method.puzzle(IMAGES, draw)
    missing = method.missing(tiles, draw)
    assert missing.sum(dim=1).tolist() == [1] * 4
    seen = method.damaged(tiles, missing, draw)
    assert torch.allclose(seen[~missing], without_colour(tiles[~missing]))
    other = tiles.clone()
    other[missing] = 0
    assert torch.equal(method.damaged(other, missing, draw), seen), "nothing of the missing tile is seen"
    assert not torch.equal(seen[missing][0], seen[missing][1])
    noise = method.encoder.normalise(seen[missing])
    assert torch.allclose(noise, noise[:, :1].expand_as(noise), atol=1e-5), "noise has no colour either"
    assert noise.std().item() == pytest.approx(1, abs=0.1)


def test_an_encoder_of_the_lightness_of_tiles_gets_the_lightness_and_noise() -> None:
    torch.manual_seed(0)
    config = TiledConfig(inner=LightnessConfig(inner=SmallConfig(widths=(8, 16))), grid=3, window=0.3, side=12)
    encoder = build_encoder(config, 3, 32)
    method = DamagedJigsaw(Config(permutations=20, side=12, normalise=False, decoder=(8,), grid=40.0), encoder)
    seen: list[torch.Tensor] = []
    assert isinstance(encoder, TiledEncoder)
    body = encoder.inner.inner.body  # type: ignore[union-attr]
    assert isinstance(body, Pooled)
    body.maps.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    loss = method.losses(BATCH, Draw(0, "step")).total
    assert torch.isfinite(loss)
    draw = Draw(0, "step")
    tiles, _ = method.puzzle(IMAGES, draw)
    missing = method.missing(tiles, draw)
    given = (seen[0] * 0.25 + 0.5).view(4, 9, 1, 12, 12)
    assert torch.allclose(given[~missing], lightness(tiles[~missing]), atol=1e-5)
    assert not torch.allclose(given[missing], lightness(tiles[missing]), atol=0.1)
    assert seen[0].view(4, 9, -1)[missing].std().item() == pytest.approx(1, abs=0.15)


def test_the_loss_is_the_weighted_sum_of_the_three(method: DamagedJigsaw) -> None:
    found = method.losses(BATCH, Draw(0, "step"))
    draw = Draw(0, "step")
    tiles, which = method.puzzle(IMAGES, draw)
    missing = method.missing(tiles, draw)
    damaged = method.damaged(tiles, missing, draw)
    solving = painting = colouring = 0.0
    with torch.no_grad():
        for puzzle, seen, gone, answer in zip(tiles, damaged, missing, which.tolist(), strict=True):
            features = torch.cat([method.tile_head(method.encoder(tile[None]))[0] for tile in seen])
            solving -= log_softmax(method.head(features).double().numpy())[answer] / 4
            painted = method.inpainting_decoder(features[None], (12, 12))[0]
            painting += F.mse_loss(painted, puzzle[gone][0]).item() / 4
            for tile, grey, lost in zip(puzzle, seen, gone, strict=True):
                if lost:
                    continue
                logits = method.colour_decoder(method.encoder.maps(grey[None]), (2, 2))[0].double().numpy()
                true = F.adaptive_avg_pool2d(rgb_to_lab(tile[None])[:, 1:], 2)
                shares = method.gamut.shares(true)[0].double().numpy()
                colouring -= (shares * log_softmax(logits, axis=0)).sum() / (4 * 8 * 4)
    assert found.metrics["painting"].item() == pytest.approx(painting, rel=1e-5)
    assert found.metrics["colouring"].item() == pytest.approx(colouring, rel=1e-4)
    assert found.total.item() == pytest.approx(0.5 * solving + 3 * painting + 0.7 * colouring, rel=1e-4)


def test_figures_show_image_damage_and_completion(method: DamagedJigsaw) -> None:
    figures = method.eval().figures(IMAGES)
    assert figures.shape == (4, 3, 3, 32, 32)
    assert torch.equal(figures[:, 0], IMAGES)
    assert (figures[:, 1].amax(1) - figures[:, 1].amin(1)).max() < 1e-2
