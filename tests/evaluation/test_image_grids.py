"""The image grids of every method, and the content of each kind of grid on simple cases."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from repflow.augment.color_spaces import rgb_to_lab
from repflow.data.read.batches import Batches, Stream
from repflow.data.read.rows import Rows
from repflow.encoders import Encoder, EncoderConfig, build_encoder
from repflow.encoders.convolutional import SmallConfig
from repflow.encoders.split import SplitConfig, SplitEncoder
from repflow.encoders.transformer import ViTConfig
from repflow.errors import ParameterError
from repflow.evaluation.image_grids import HasFigures, ImageGrid, first_filters, image_grids, nearest_members
from repflow.methods.pretext.jigsaw import Config as JigsawConfig
from repflow.methods.pretext.jigsaw import Jigsaw
from repflow.randomness.draws import Draw, seeded
from repflow.schema import build
from repflow.stages.learning import check_method
from repflow.training.contract import EncoderMethod, Losses

CONF = Path(__file__).parents[2] / "conf"
SIZE = 16
IMAGES = np.random.default_rng(0).integers(0, 256, (40, 3, SIZE, SIZE), np.uint8)
FIGURES = {
    "adversarial_colorization": 3,
    "autoencoder": 2,
    "bigan": 2,
    "bigbigan": 2,
    "colorization": 3,
    "damaged_jigsaw": 3,
    "deep_dpm": 3,
    "denoising_autoencoder": 3,
    "inpainting": 3,
    "jigsaw": 3,
    "masked_autoencoder": 3,
    "mixture_of_autoencoders": 2,
    "split_brain": 3,
    "variational_autoencoder": 2,
}
"""Methods with figures, and their number of columns."""
GENERATIVE = {"bigan", "bigbigan", "gan", "self_supervised_gan", "variational_autoencoder"}
CLUSTERED = {"deep_dpm", "deepcluster", "mixture_of_autoencoders"}


class Plain(EncoderMethod):
    """A method without losses."""

    streams = ("unlabelled",)

    def losses(self, batch: Batches, draw: Draw) -> Losses:
        raise NotImplementedError


def named(found: Sequence[ImageGrid]) -> dict[str, ImageGrid]:
    assert len({grid.name for grid in found}) == len(found)
    return {grid.name: grid for grid in found}


def bytes_of(found: Sequence[ImageGrid]) -> list[bytes]:
    return [line.tobytes() for grid in found for line in grid.rows]


def each_of(images: np.ndarray) -> set[bytes]:
    return set(map(np.ndarray.tobytes, images))


@pytest.mark.parametrize("path", sorted((CONF / "pretrain").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_method_has_the_grids_of_its_interfaces(path: Path, configuration: dict[str, Any]) -> None:
    name = path.stem
    kind, settings, section = check_method(configuration["methods"]["pretrain"][name], path.name)
    if name == "deep_dpm":
        settings = dataclasses.replace(settings, embedding=0.0)  # clusters from the first step on
    rows = Rows(IMAGES, np.full(40, -1), np.arange(40), ("a",))
    with seeded(0, "weights"):
        encoder = section.encoder or build(EncoderConfig, configuration["encoder"], "encoder")  # type: ignore[type-var]
        method = kind(settings, build_encoder(encoder, 3, SIZE))
    streams = {"unlabelled": Stream("unlabelled", rows)}
    method.begin(streams, Draw(0, "begin"))
    with torch.no_grad():
        method.refresh(0, streams, Draw(0, "refresh"))
    assert hasattr(kind, "figures") == isinstance(method, HasFigures), "a method with figures names their columns"
    method.eval()
    with torch.no_grad():
        method.finish(streams)
    found = named(image_grids(method, IMAGES, seed=0))
    assert ("pictures" in found) == (name in FIGURES)
    assert ("samples" in found) == (name in GENERATIVE)
    assert ("clusters" in found) == (name in CLUSTERED)
    assert "filters" in found
    for line in (line for grid in found.values() for line in grid.rows):
        assert line.dtype == np.uint8
        assert line.ndim == 4
    if name in FIGURES:
        columns = method.columns
        assert len(columns) == FIGURES[name] == found["pictures"].group
        assert ", ".join(columns) in found["pictures"].caption
        lines = found["pictures"].rows
        assert all(line.shape[1:] == (3, SIZE, SIZE) and len(line) % len(columns) == 0 for line in lines)
        together = np.concatenate(lines)
        assert each_of(together[:: len(columns)]) <= each_of(IMAGES)
        for number in range(1, len(columns)):
            assert not np.array_equal(together[:: len(columns)], together[number :: len(columns)])
    again = image_grids(method, IMAGES, seed=0)
    assert bytes_of(again) == bytes_of(list(found.values()))
    without = named(image_grids(method, IMAGES[:0], seed=0))
    assert set(without) == set(found) & {"samples", "filters"}


def small(channels: int = 3) -> Encoder:
    with seeded(0, "weights"):
        return build_encoder(SmallConfig(widths=(8, 16)), channels, SIZE).eval()


class Identity(Plain):
    """A method whose output is its input."""

    columns = ("image", "the same")

    def figures(self, images: Tensor) -> Tensor:
        assert not torch.is_grad_enabled()
        return torch.stack([images, images], dim=1)


@pytest.mark.parametrize("channels", [1, 3])
def test_figures_of_the_identity(channels: int) -> None:
    images = IMAGES[:, :channels]
    grid = named(image_grids(Identity(small(channels)).eval(), images, seed=0))["pictures"]
    assert len(grid.rows) == 8
    pairs = np.concatenate(grid.rows).reshape(24, 2, channels, SIZE, SIZE)
    assert np.array_equal(pairs[:, 0], pairs[:, 1])
    assert len(each_of(pairs[:, 0])) == 24, "no image stands there twice"
    assert each_of(pairs[:, 0]) <= each_of(images)
    other = named(image_grids(Identity(small(channels)).eval(), images, seed=1))["pictures"]
    assert bytes_of([other]) != bytes_of([grid]), "other images"


def test_few_images_make_a_small_grid() -> None:
    grid = named(image_grids(Identity(small()).eval(), IMAGES[:4], seed=0))["pictures"]
    assert [len(line) for line in grid.rows] == [6, 2]
    assert np.array_equal(np.concatenate(grid.rows)[::2], IMAGES[:4]), "in their order"


def test_tasks_of_a_mixture_have_their_own_grids() -> None:
    class Mixture(Plain):
        def __init__(self) -> None:
            super().__init__(small())
            self.tasks = nn.ModuleDict({"one": Identity(small()), "plain": Plain(small()), "two": Identity(small())})

    found = image_grids(Mixture().eval(), IMAGES, seed=0)
    assert [grid.name for grid in found] == ["pictures.one", "pictures.two", "filters"]


class PerfectSolver(Jigsaw):
    """Reads the permutation from the tiles, whose first pixel encodes their position."""

    def solve(self, tiles: Tensor) -> Tensor:
        places = (tiles[:, :, 0, 0, 0] * 10).round().long()  # [B, 9]
        return (places[:, None] == self.permutations).all(dim=2).float()  # [B, P]


def test_a_perfect_jigsaw_solution_is_the_image() -> None:
    side, tile = 24, 8
    images = np.random.default_rng(1).integers(0, 256, (12, 3, side, side), np.uint8)
    for place in range(9):
        images[:, 0, tile * (place // 3), tile * (place % 3)] = round(place / 10 * 255)
    config = JigsawConfig(permutations=30, tile=1.0, side=tile)
    with seeded(0, "weights"):
        method = PerfectSolver(config, build_encoder(SmallConfig(widths=(8, 16)), 3, side)).eval()
    lines = named(image_grids(method, images, seed=0))["pictures"].rows
    shown = np.concatenate(lines).reshape(12, 3, 3, side, side)
    assert np.array_equal(shown[:, 2], shown[:, 0])
    shuffled = [not np.array_equal(puzzle, image) for image, puzzle, _ in shown]
    assert sum(shuffled) >= 10, "one of thirty permutations leaves the tiles where they are"
    for image, puzzle, _ in shown:
        assert np.array_equal(np.sort(puzzle.ravel()), np.sort(image.ravel())), "the puzzle has the image's tiles"


class ByBrightness(Plain):
    """Clusters by brightness: dark, grey and bright."""

    def assign(self, images: Tensor) -> Tensor:
        assert not self.training
        assert not torch.is_grad_enabled()
        assert len(images) <= 256
        return (images.mean(dim=(1, 2, 3)) * 3).long().clamp(max=2)


class Brightness(nn.Module):
    """A body whose one feature is the brightness."""

    def forward(self, normal: Tensor) -> Tensor:
        return normal.mean(dim=(1, 2, 3))[:, None]


def test_a_row_of_clusters_shows_the_members_nearest_to_the_mean() -> None:
    levels = np.concatenate([np.arange(5, 30), np.arange(100, 150), np.arange(230, 233)]).astype(np.uint8)
    order = np.random.default_rng(2).permutation(len(levels))
    images = np.broadcast_to(levels[order][:, None, None, None], (len(levels), 1, 8, 8)).copy()
    method = ByBrightness(Encoder(Brightness(), 1, 1)).eval()
    found = named(image_grids(method, images, seed=0))
    assert "filters" not in found, "there is no convolution"
    lines = [line[:, 0, 0, 0].astype(int) for line in found["clusters"].rows]
    assert [len(line) for line in lines] == [8, 8, 3], "the largest first"
    for line, members in zip(lines, (np.arange(100, 150), np.arange(5, 30), np.arange(230, 233)), strict=True):
        assert set(line) <= set(members)
        distances = np.abs(line - members.mean())
        assert (np.diff(distances) >= 0).all()
        assert set(distances) == set(np.sort(np.abs(members - members.mean()))[: len(line)])
    assert "the 3 largest of 3 clusters of 78 held-out images" in found["clusters"].caption


def test_only_the_largest_clusters_are_shown_and_the_mean_is_that_of_all_members() -> None:
    found = np.array([4, 4, 4, 9, 9, 7, 7, 7, 7])
    features = np.array([0.0, 10.0, 11.0, 0.0, 1.0, 3.0, 0.0, 2.0, 100.0])[:, None]
    nearest = [rows.tolist() for rows in nearest_members(found, features, clusters=2, each=2)]
    assert nearest == [[5, 7], [1, 2]], "of 7 the mean is 26.25, of 4 it is 7"


def test_a_method_without_clusters_has_no_grid_of_clusters(caplog: pytest.LogCaptureFixture) -> None:
    class Nothing(Plain):
        def assign(self, images: Tensor) -> Tensor:
            raise ParameterError("there are none")

    caplog.set_level("INFO", logger="repflow")
    assert [grid.name for grid in image_grids(Nothing(small()).eval(), IMAGES, seed=0)] == ["filters"]
    assert "there are none" in caplog.text


def test_compiled_encoders_run_eagerly() -> None:
    def refuse(graph: object, inputs: object) -> None:
        raise AssertionError("compiled")

    method = ByBrightness(small()).eval()
    expected = image_grids(method, IMAGES, seed=0)
    method.encoder.compile(backend=refuse)
    assert bytes_of(image_grids(method, IMAGES, seed=0)) == bytes_of(expected)
    with pytest.raises(Exception, match="compiled"):
        method.encoder(torch.zeros(1, 3, SIZE, SIZE))


def with_first_layer(weight: Tensor) -> Encoder:
    encoder = small(weight.shape[1])
    layer = nn.Conv2d(weight.shape[1], len(weight), weight.shape[2], bias=False)
    with torch.no_grad():
        layer.weight.copy_(weight)
    encoder.body = nn.Sequential(layer, nn.BatchNorm2d(len(weight)), nn.Conv2d(len(weight), 4, 7))
    return encoder


def test_filters_are_centred_at_grey_and_scaled_to_full_contrast() -> None:
    weight = torch.zeros(20, 3, 3, 3)
    weight[0, 0, 0, 0], weight[0, 1, 1, 1] = 2.0, -1.0
    weight[1, 2, 2, 2] = -0.01
    weight[17] = 1.0
    (grid,) = first_filters(with_first_layer(weight))
    assert [len(line) for line in grid.rows] == [16, 4]
    first, second, third = grid.rows[0][:3]
    assert (first[0, 0, 0], first[1, 1, 1], second[2, 2, 2]) == (255, 64, 0)
    assert np.sum(first != 128) == 2
    assert np.sum(second != 128) == 1
    assert (third == 128).all()
    assert (grid.rows[1][1] == 255).all()
    assert "20 filters of the first layer, 3 × 3 pixels" in grid.caption


def test_a_first_layer_that_is_no_convolution_is_not_shown() -> None:
    encoder = small()
    encoder.body = nn.Sequential(nn.Flatten(), nn.Linear(12, 9), nn.Unflatten(1, (1, 3, 3)), nn.Conv2d(1, 2, 3))
    assert first_filters(encoder) == []


def test_filters_of_patch_embeddings_and_half_encoders() -> None:
    (grid,) = first_filters(build_encoder(ViTConfig(patch=4, layers=1), 1, SIZE))
    assert sum(map(len, grid.rows)) == 192
    assert grid.rows[0].shape[1:] == (1, 4, 4)
    encoder = SplitEncoder(SplitConfig(half=SmallConfig(widths=(8, 16))), 3, SIZE)
    with torch.no_grad():
        layer = next(each for each in encoder.body["colour"].modules() if isinstance(each, nn.Conv2d))
        layer.weight.zero_()
        layer.weight[0, 0] = 1.0  # answers to a, which is red rather than green
    lightness, colour = first_filters(encoder)[0].rows
    assert lightness.shape == (8, 1, 5, 5)
    assert colour.shape == (8, 3, 5, 5)
    a, b = rgb_to_lab(torch.from_numpy(colour[:1]).float() / 255)[0, 1:, 0, 0].tolist()
    assert a > 50 > abs(b)
    assert (np.ptp(colour[1:], axis=1) <= 1).all(), "grey"
