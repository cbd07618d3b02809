"""Tiles: positions, encoding, permutation and assembly."""

import pytest
import torch

from repflow.encoders import build_encoder
from repflow.encoders.convolutional import SmallConfig
from repflow.encoders.lightness import LightnessConfig
from repflow.encoders.tiled import TiledConfig
from repflow.methods.parts.tiles import assemble, crop_windows, cut_tiles, of_tiles, permuted, prepared
from repflow.randomness.draws import Draw

IMAGES = Draw(0, "images").uniform(4, 3, 30, 30)


def test_windows_are_at_the_given_positions() -> None:
    places = Draw(0, "places").integers(4, 5, 2, high=23)
    windows = crop_windows(IMAGES, places, 8)
    assert windows.shape == (4, 5, 3, 8, 8)
    for image, corners, found in zip(IMAGES, places.tolist(), windows, strict=True):
        for (row, column), window in zip(corners, found, strict=True):
            assert torch.equal(window, image[:, row : row + 8, column : column + 8])


def test_tiles_without_gaps_assemble_to_the_image() -> None:
    tiles = cut_tiles(IMAGES, 1.0, 1.0, 10, Draw(0, "tiles"))
    assert torch.allclose(assemble(tiles, (30, 30)), IMAGES, atol=1e-6)
    assert torch.allclose(tiles[:, 5], IMAGES[:, :, 10:20, 20:30], atol=1e-6)


@pytest.mark.parametrize("jitter", [0.0, 0.5, 1.0])
def test_tiles_are_within_their_cells_and_jitter(jitter: float) -> None:
    rows = torch.arange(32.0).view(1, 1, 32, 1).expand(2000, 1, 32, 32)  # the value of a pixel is its row
    tops = cut_tiles(rows, 0.6, jitter, 6, Draw(0, "tiles"))[:, :, 0, 0, 0]  # cells of 10 pixels begin at row 1
    slack = round(jitter * 4)
    for tile in range(9):
        first = 1 + 10 * (tile // 3) + (4 - slack) // 2
        assert tops[:, tile].unique().tolist() == pytest.approx(list(range(first, first + slack + 1)))


@pytest.mark.parametrize("standardise", [False, True])
@pytest.mark.parametrize("inner", [SmallConfig(widths=(8,)), LightnessConfig(inner=SmallConfig(widths=(8,)))])
def test_an_encoder_of_tiles_is_trained_on_what_it_reads(
    inner: SmallConfig | LightnessConfig, standardise: bool
) -> None:
    torch.manual_seed(0)
    config = TiledConfig(inner=inner, grid=3, window=1 / 3, side=14, standardise=standardise)
    encoder = build_encoder(config, 3, 30).eval()
    tiles = cut_tiles(IMAGES, 1.0, 0.0, 14, Draw(0, "tiles")).flatten(0, 1)  # every cell whole, where it lies
    trained = of_tiles(encoder)(prepared(encoder, tiles, standardise=not standardise))
    assert torch.allclose(trained.view(4, 3, 3, 8), encoder.maps(IMAGES).permute(0, 2, 3, 1), atol=1e-5)


def test_any_other_encoder_gets_tiles_as_images_standardised_if_wanted() -> None:
    encoder = build_encoder(SmallConfig(widths=(8,)), 3, 30)
    encoder.set_normalisation(torch.tensor([0.3, 0.4, 0.5]), torch.tensor([0.1, 0.2, 0.3]))
    tiles = cut_tiles(IMAGES, 1.0, 0.0, 14, Draw(0, "tiles")).flatten(0, 1)
    assert of_tiles(encoder) is encoder
    assert torch.equal(prepared(encoder, tiles, standardise=False), tiles)
    normal = encoder.normalise(prepared(encoder, tiles, standardise=True))
    assert normal.mean((2, 3)).abs().max() < 1e-4
    assert normal.std((2, 3), correction=0).min() > 0.9


def test_a_permutation_is_undone_by_its_inverse() -> None:
    tiles = cut_tiles(IMAGES, 0.8, 1.0, 8, Draw(0, "tiles"))
    order = Draw(0, "order").uniform(4, 9).argsort(dim=1)
    shuffled = permuted(tiles, order)
    assert torch.equal(shuffled[2, 3], tiles[2, order[2, 3]])
    assert torch.equal(permuted(shuffled, order.argsort(dim=1)), tiles)
