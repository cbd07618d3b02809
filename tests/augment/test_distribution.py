"""Random parameters have the distribution of torchvision's."""

import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import ks_2samp
from torch import Tensor
from torchvision.transforms import v2

from repflow.augment import operations as ops
from repflow.augment.operation import Operation
from repflow.randomness.draws import Draw

COUNT = 1000
SHAPE = (3, 44, 61)


@pytest.fixture(autouse=True)
def seeded() -> Iterator[None]:
    """torchvision draws from global generators."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        random.seed(0)
        np.random.seed(0)
        yield


def assert_same_distribution(ours: Any, theirs: Any) -> None:
    """The Kolmogorov-Smirnov test finds no difference; deterministic, as the seeds are fixed."""
    result = ks_2samp(np.asarray(ours, dtype=float), np.asarray(theirs, dtype=float))
    assert result.pvalue > 1e-3, f"distance {result.statistic:.3f}, p {result.pvalue:.1e}"


def drawn(operation: Operation, count: int = COUNT) -> tuple[Tensor, ...]:
    return operation.make_params(count, SHAPE, Draw(0, "test"))


def their_parameters(transform: v2.Transform, count: int = COUNT) -> list[dict[str, Any]]:
    image = torch.zeros(SHAPE)
    return [transform.make_params([image]) for _ in range(count)]


def column(parameters: list[dict[str, Any]], key: str, *positions: int) -> list[float]:
    values = [each[key] for each in parameters]
    for position in positions:
        values = [each[position] for each in values]
    return [float(value) for value in values]


@pytest.mark.parametrize(("scale", "ratio"), [((0.08, 1.0), (3 / 4, 4 / 3)), ((0.2, 0.5), (0.5, 3.0))])
def test_random_resized_crop(scale: tuple[float, float], ratio: tuple[float, float]) -> None:
    theirs = their_parameters(v2.RandomResizedCrop(SHAPE[1:], scale, ratio))
    for name, ours in zip(
        ("top", "left", "height", "width"), drawn(ops.RandomResizedCrop(1.0, scale=scale, ratio=ratio)), strict=True
    ):
        assert_same_distribution(ours, column(theirs, name))


def test_random_erasing() -> None:
    theirs = their_parameters(v2.RandomErasing(p=1.0))
    for name, ours in zip("ijhw", drawn(ops.RandomErasing(probability=1.0)), strict=True):
        assert_same_distribution(ours, column(theirs, name))


def test_colour_jitter() -> None:
    theirs = their_parameters(v2.ColorJitter(0.4, 0.5, 1.5, 0.2))
    factors, turns, order, place = drawn(ops.ColourJitter(brightness=0.4, contrast=0.5, saturation=1.5, hue=0.2))
    names = ("brightness_factor", "contrast_factor", "saturation_factor")
    for ours, name in zip(factors.unbind(1), names, strict=True):
        assert_same_distribution(ours, column(theirs, name))
    assert_same_distribution(turns, column(theirs, "hue_factor"))
    # All 24 orders, the hue being number 3 there.
    full = [[*row[:hue], 3, *row[hue:]] for row, hue in zip(order.tolist(), place.tolist(), strict=True)]
    counts = np.unique(full, axis=0, return_counts=True)[1]
    assert len(counts) == 24
    assert counts.max() < 1.6 * COUNT / 24
    assert counts.min() > 0.4 * COUNT / 24


def test_affine() -> None:
    theirs = their_parameters(v2.RandomAffine(20, translate=(0.1, 0.2), scale=(0.5, 1.5), shear=(-10, 10, -10, 10)))
    degrees, translation, scale, shear = drawn(ops.Affine(degrees=20, translation=0.1, scale=(0.5, 1.5), shear=10))
    assert_same_distribution(degrees, column(theirs, "angle"))
    assert_same_distribution(scale, column(theirs, "scale"))
    assert_same_distribution(translation[:, 0].round(), column(theirs, "translate", 0))  # they take whole pixels
    assert_same_distribution((2 * translation[:, 1]).round(), column(theirs, "translate", 1))
    for axis in (0, 1):
        assert_same_distribution(shear[:, axis], column(theirs, "shear", axis))


def test_rotation() -> None:
    assert_same_distribution(
        drawn(ops.Rotation(degrees=30))[0], column(their_parameters(v2.RandomRotation(30)), "angle")
    )


def test_perspective() -> None:
    """Our corners, put through the coefficients that torchvision draws, land on the corners of the image."""
    image = torch.zeros(SHAPE)
    transform = v2.RandomPerspective(0.5, p=1.0)
    seen = []
    for _ in range(COUNT // 2):
        a, b, c, d, e, f, g, h = transform.make_params([image])["coefficients"]
        inverse = np.linalg.inv(np.array([[a, b, c], [d, e, f], [g, h, 1]]))
        corners = np.array([[0, 0, 1], [60, 0, 1], [60, 43, 1], [0, 43, 1]]) @ inverse.T
        seen.append(np.round(corners[:, :2] / corners[:, 2:]))
    ours, theirs = drawn(ops.Perspective())[0], np.array(seen)
    for corner in range(4):
        for axis in range(2):
            assert_same_distribution(ours[:, corner, axis], theirs[:, corner, axis])


def test_gaussian_blur() -> None:
    theirs = their_parameters(v2.GaussianBlur(5, (0.1, 2.0)))
    assert_same_distribution(drawn(ops.GaussianBlur())[0], column(theirs, "sigma", 0))


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (ops.HorizontalFlip(), v2.RandomHorizontalFlip()),
        (ops.VerticalFlip(probability=0.3), v2.RandomVerticalFlip(0.3)),
        (ops.Greyscale(), v2.RandomGrayscale(0.2)),
        (ops.Solarise(probability=0.7), v2.RandomSolarize(0.5, 0.7)),
    ],
    ids=lambda each: type(each).__name__,
)
def test_probability(ours: Operation, theirs: v2.Transform, photographs: Tensor) -> None:
    image = photographs[:1]
    mine = ours(image.expand(400, -1, -1, -1), Draw(0, "test"))
    their = torch.cat([theirs(image) for _ in range(400)])
    changed = [(after != image).flatten(1).any(1).float().mean() for after in (mine, their)]
    assert abs(changed[0] - changed[1]) < 0.1


def without(transform: v2.Transform, *names: str, space: str = "_AUGMENTATION_SPACE") -> v2.Transform:
    """torchvision's transform without the operations that differ from ours on purpose."""
    setattr(transform, space, {name: how for name, how in getattr(transform, space).items() if name not in names})
    return transform


SHEARS = ("ShearX", "ShearY")  # theirs are about a corner of the image
MOVES = (*SHEARS, "TranslateX", "TranslateY")  # theirs go to 0.45 of the side

ALL = ops.RandAugment().choices
BUT_SHEARS = tuple(name for name in ALL if not name.startswith("shear"))
BUT_MOVES = tuple(name for name in BUT_SHEARS if not name.startswith("translate"))
AUGMIX = tuple(name for name in ops.AugMix().choices if not name.startswith("shear"))


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (
            ops.RandAugment(rounds=2, strength=(0.5, 0.5), choices=BUT_MOVES),
            lambda: without(v2.RandAugment(2, 15, 31, fill=128, interpolation=v2.InterpolationMode.BILINEAR), *MOVES),
        ),
        (
            ops.TrivialAugment(choices=BUT_SHEARS),
            lambda: without(v2.TrivialAugmentWide(fill=128, interpolation=v2.InterpolationMode.BILINEAR), *SHEARS),
        ),
        (
            ops.AugMix(strength=(0.0, 1.0), choices=AUGMIX),
            lambda: without(
                v2.AugMix(10, all_ops=False, fill=128, interpolation=v2.InterpolationMode.BILINEAR),
                *SHEARS,
                space="_PARTIAL_AUGMENTATION_SPACE",
            ),
        ),
    ],
    ids=lambda each: type(each).__name__ if isinstance(each, Operation) else "torchvision",
)
def test_changes_of_automatic_policies(
    ours: Operation, theirs: Callable[[], v2.Transform], photographs: Tensor
) -> None:
    """Compares the distributions of the change in brightness and of the mean absolute change."""
    levels = (photographs[:, :, :32, :32] * 255).round().to(torch.uint8)
    images = levels.repeat(60, 1, 1, 1)
    mine = ours(images / 255, Draw(0, "test"))
    transform = theirs()
    their = torch.stack([transform(image) for image in images]) / 255
    assert_same_distribution((mine - images / 255).abs().mean((1, 2, 3)), (their - images / 255).abs().mean((1, 2, 3)))
    assert_same_distribution((mine - images / 255).mean((1, 2, 3)), (their - images / 255).mean((1, 2, 3)))
