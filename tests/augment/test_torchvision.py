"""Every deterministic operation does to each image of a batch what torchvision does to it alone."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as tv

from repflow.augment import colour, geometry, texture

BILINEAR = InterpolationMode.BILINEAR
LEVEL = 1 / 255


def spread(low: float, high: float, count: int = 8) -> Tensor:
    return torch.linspace(low, high, count)


def assert_alike(ours: Tensor, images: Tensor, theirs: Callable[[Tensor, int], Tensor]) -> None:
    assert ours.shape == images.shape
    for number, image in enumerate(images):
        expected = theirs(image, number)
        difference = (ours[number] - expected).abs().max().item()
        assert difference < LEVEL, f"image {number} differs by {difference * 255:.2f} levels"


def test_horizontal_flip(images: Tensor) -> None:
    assert_alike(geometry.horizontal_flip(images), images, lambda image, i: tv.horizontal_flip(image))


def test_resized_crop(images: Tensor) -> None:
    top = torch.tensor([0, 3, 0, 7, 10, 20, 31, 0])
    left = torch.tensor([0, 5, 9, 0, 4, 20, 31, 16])
    height = torch.tensor([32, 10, 20, 25, 1, 5, 1, 16])
    width = torch.tensor([32, 20, 1, 25, 8, 12, 1, 16])
    ours = geometry.resized_crop(images, top, left, height, width)

    def theirs(image: Tensor, i: int) -> Tensor:
        box = [int(each[i]) for each in (top, left, height, width)]
        return tv.resized_crop(image, *box, size=list(image.shape[1:]), interpolation=BILINEAR)

    assert_alike(ours, images, theirs)


@pytest.mark.parametrize("mode", ["constant", "reflect"])
def test_shifted_crop(images: Tensor, mode: str) -> None:
    down, right = torch.arange(8) % 7, torch.tensor([6, 0, 3, 1, 2, 4, 5, 3])
    ours = geometry.shifted_crop(images, down, right, padding=3, reflect=mode == "reflect")

    def theirs(image: Tensor, i: int) -> Tensor:
        padded = tv.pad(image, [3, 3, 3, 3], padding_mode=mode)
        return tv.crop(padded, int(down[i]), int(right[i]), *image.shape[1:])

    assert_alike(ours, images, theirs)


@pytest.mark.parametrize("fill", [0.0, 0.5])
def test_affine(images: Tensor, fill: float) -> None:
    degrees, scale = spread(-170, 180), spread(0.5, 1.7)
    translation = torch.stack([spread(-9, 12), spread(8, -5)], dim=1).round()
    shear = torch.stack([spread(-40, 35), spread(20, -30)], dim=1)
    ours = geometry.affine(images, degrees, translation, scale, shear, fill)

    def theirs(image: Tensor, i: int) -> Tensor:
        return tv.affine(
            image,
            angle=degrees[i].item(),
            translate=[int(each) for each in translation[i]],
            scale=scale[i].item(),
            shear=shear[i].tolist(),
            interpolation=BILINEAR,
            fill=[fill] * len(image) if fill else None,
        )

    assert_alike(ours, images, theirs)


def test_rotate(images: Tensor) -> None:
    degrees = spread(-180, 90)
    ours = geometry.rotate(images, degrees)
    assert_alike(ours, images, lambda image, i: tv.rotate(image, degrees[i].item(), interpolation=BILINEAR))


def test_translate(images: Tensor) -> None:
    right, down = spread(-10, 4).round(), spread(7, -3).round()
    ours = geometry.translate(images, right, down)

    def theirs(image: Tensor, i: int) -> Tensor:
        offset = [int(right[i]), int(down[i])]
        return tv.affine(image, angle=0, translate=offset, scale=1, shear=[0, 0], interpolation=BILINEAR)

    assert_alike(ours, images, theirs)


def test_shear(images: Tensor) -> None:
    x, y = spread(-40, 30), spread(10, -20)
    ours = geometry.shear(images, x, y)

    def theirs(image: Tensor, i: int) -> Tensor:
        slopes = [x[i].item(), y[i].item()]
        return tv.affine(image, angle=0, translate=[0, 0], scale=1, shear=slopes, interpolation=BILINEAR)

    assert_alike(ours, images, theirs)


@pytest.mark.parametrize(
    ("ours", "theirs", "low", "high"),
    [
        (colour.brightness, tv.adjust_brightness, 0.0, 2.5),
        (colour.contrast, tv.adjust_contrast, 0.0, 2.5),
        (colour.saturation, tv.adjust_saturation, 0.0, 2.5),
        (colour.hue, tv.adjust_hue, -0.5, 0.5),
        (texture.sharpness, tv.adjust_sharpness, 0.0, 2.5),
        (colour.solarise, tv.solarize, 0.0, 1.0),
    ],
)
def test_one_number_for_each_image(
    images: Tensor,
    ours: Callable[[Tensor, Tensor], Tensor],
    theirs: Callable[[Tensor, float], Tensor],
    low: float,
    high: float,
) -> None:
    numbers = spread(low, high)
    assert_alike(ours(images, numbers), images, lambda image, i: theirs(image, numbers[i].item()))


def test_posterise(images: Tensor) -> None:
    bits = torch.tensor([0, 1, 2, 3, 4, 5, 7, 8])
    assert_alike(colour.posterise(images, bits), images, lambda image, i: tv.posterize(image, int(bits[i])))


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (colour.equalise, tv.equalize),
        (colour.autocontrast, tv.autocontrast),
        (colour.invert, tv.invert),
        (colour.greyscale, tv.rgb_to_grayscale),
    ],
)
def test_no_number(images: Tensor, ours: Callable[[Tensor], Tensor], theirs: Callable[[Tensor], Tensor]) -> None:
    varied = images.clone()
    varied[0] = 0.25  # one value alone
    varied[1] = varied[1] * 0.5
    assert_alike(ours(varied), varied, lambda image, i: theirs(image).expand_as(image))


@pytest.mark.parametrize("size", [3, 5, 11])
def test_gaussian_blur(images: Tensor, size: int) -> None:
    sigmas = spread(0.1, 3)
    ours = texture.gaussian_blur(images, sigmas, size)
    assert_alike(ours, images, lambda image, i: tv.gaussian_blur(image, [size, size], [sigmas[i].item()] * 2))


def test_erase(images: Tensor) -> None:
    top, left = torch.arange(8), torch.arange(8) * 2
    height, width = torch.arange(8) + 3, torch.arange(8) + 1
    ours = texture.erase(images, top, left, height, width, value=0.5)
    value = torch.full((1, 1, 1), 0.5)

    def theirs(image: Tensor, i: int) -> Tensor:
        return tv.erase(image, int(top[i]), int(left[i]), int(height[i]), int(width[i]), value)

    assert_alike(ours, images, theirs)


def test_erase_ignores_what_lies_outside() -> None:
    images = torch.ones(1, 1, 4, 4)
    corner = torch.tensor([-2])
    erased = texture.erase(images, corner, corner, torch.tensor([3]), torch.tensor([3]))
    assert erased.sum() == 15
    assert erased[0, 0, 0, 0] == 0
