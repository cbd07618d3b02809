"""Every operation equals torchvision's, for random sizes, channels and parameters."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_sample_images
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as tv

from repflow.augment import colour, geometry, texture
from repflow.randomness.draws import Draw

BILINEAR = InterpolationMode.BILINEAR
LEVEL = 1 / 255
PHOTO = torch.tensor(load_sample_images().images[0]).permute(2, 0, 1) / 255
COUNT = 3


@st.composite
def batches(draw: st.DrawFn) -> Tensor:
    """Three images [3, 1 or 3, 3 to 37, 3 to 37]: of a photograph, noise, few levels, or one value."""
    height, width, channels = draw(st.integers(3, 37)), draw(st.integers(3, 37)), draw(st.sampled_from((1, 3)))
    kind, seed = draw(st.sampled_from(("photo", "noise", "levels", "flat"))), draw(st.integers(0, 2**20))
    numbers = Draw(seed, "images")
    if kind == "photo":
        places = numbers.integers(COUNT, 2, high=380).tolist()
        return torch.stack([PHOTO[:channels, top : top + height, left : left + width] for top, left in places])
    if kind == "flat":
        return numbers.uniform(COUNT, 1, 1, 1).expand(COUNT, channels, height, width).clone()
    noise = numbers.uniform(COUNT, channels, height, width)
    return (noise * 4).round() / 4 if kind == "levels" else noise


def each(values: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    """A value for every image."""
    return st.lists(values, min_size=COUNT, max_size=COUNT)


def numbers(low: float, high: float) -> st.SearchStrategy[list[float]]:
    return each(st.floats(low, high, width=32))


def assert_alike(ours: Tensor, images: Tensor, theirs: Callable[[Tensor, int], Tensor]) -> None:
    for number, image in enumerate(images):
        expected = theirs(image, number).expand(image.shape[0], -1, -1)
        assert ours[number].shape == expected.shape
        difference = (ours[number] - expected).abs().max().item()
        assert difference < LEVEL, f"image {number} differs by {difference * 255:.2f} levels"


FACTOR = {
    "brightness": (colour.brightness, tv.adjust_brightness, 0, 3),
    "contrast": (colour.contrast, tv.adjust_contrast, 0, 3),
    "saturation": (colour.saturation, tv.adjust_saturation, 0, 3),
    "hue": (colour.hue, tv.adjust_hue, -0.5, 0.5),
    "sharpness": (texture.sharpness, tv.adjust_sharpness, 0, 3),
    "solarise": (colour.solarise, tv.solarize, 0, 1),
    "rotate": (
        lambda images, degrees: geometry.rotate(images, degrees),
        lambda image, degrees: tv.rotate(image, degrees, interpolation=BILINEAR),
        -180,
        180,
    ),
}


@pytest.mark.parametrize("name", FACTOR)
@given(images=batches(), shares=numbers(0, 1))
@settings(max_examples=20, deadline=None)
def test_operations_with_one_parameter(name: str, images: Tensor, shares: list[float]) -> None:
    ours, theirs, low, high = FACTOR[name]
    values = torch.tensor([low + (high - low) * share for share in shares])
    assert_alike(ours(images, values), images, lambda image, i: theirs(image, values[i].item()))


NONE = {
    "horizontal_flip": (geometry.horizontal_flip, tv.horizontal_flip),
    "vertical_flip": (geometry.vertical_flip, tv.vertical_flip),
    "greyscale": (colour.greyscale, tv.rgb_to_grayscale),
    "invert": (colour.invert, tv.invert),
    "equalise": (colour.equalise, tv.equalize),
    "autocontrast": (colour.autocontrast, tv.autocontrast),
}


@pytest.mark.parametrize("name", NONE)
@given(images=batches())
@settings(max_examples=20, deadline=None)
def test_operations_without_parameters(name: str, images: Tensor) -> None:
    ours, theirs = NONE[name]
    assert_alike(ours(images), images, lambda image, i: theirs(image))


@given(images=batches(), bits=each(st.integers(0, 8)))
@settings(max_examples=20, deadline=None)
def test_posterise(images: Tensor, bits: list[int]) -> None:
    assert_alike(colour.posterise(images, torch.tensor(bits)), images, lambda image, i: tv.posterize(image, bits[i]))


@given(images=batches(), corners=each(st.tuples(*[st.floats(0, 1)] * 4)), size=st.none() | st.integers(1, 40))
@settings(max_examples=30, deadline=None)
def test_resized_crop(images: Tensor, corners: list[tuple[float, ...]], size: int | None) -> None:
    height, width = images.shape[2:]
    boxes = []
    for top, left, low, right in corners:
        first = int(top * (height - 1)), int(left * (width - 1))
        boxes.append((*first, 1 + int(low * (height - 1 - first[0])), 1 + int(right * (width - 1 - first[1]))))
    result = (height, width) if size is None else (size, size)
    ours = geometry.resized_crop(images, *torch.tensor(boxes).unbind(1), size and (size, size))

    def theirs(image: Tensor, i: int) -> Tensor:
        return tv.resized_crop(image, *boxes[i], size=list(result), interpolation=BILINEAR, antialias=False)

    assert_alike(ours, images, theirs)


@given(images=batches(), start=each(st.tuples(st.integers(0, 4), st.integers(0, 4))), reflect=st.booleans())
@settings(max_examples=20, deadline=None)
def test_shifted_crop(images: Tensor, start: list[tuple[int, int]], reflect: bool) -> None:
    ours = geometry.shifted_crop(images, *torch.tensor(start).unbind(1), padding=2, reflect=reflect)

    def theirs(image: Tensor, i: int) -> Tensor:
        padded = tv.pad(image, [2, 2, 2, 2], padding_mode="reflect" if reflect else "constant")
        return tv.crop(padded, *start[i], *image.shape[1:])

    assert_alike(ours, images, theirs)


@given(
    images=batches(),
    degrees=numbers(-360, 360),
    shift=each(st.tuples(st.integers(-9, 9), st.integers(-9, 9))),
    scale=numbers(0.25, 4),
    shear=each(st.tuples(st.floats(-60, 60, width=32), st.floats(-60, 60, width=32))),
    fill=st.sampled_from((0.0, 0.5)),
)
@settings(max_examples=30, deadline=None)
def test_affine(
    images: Tensor,
    degrees: list[float],
    shift: list[tuple[int, int]],
    scale: list[float],
    shear: list[tuple[float, float]],
    fill: float,
) -> None:
    given_numbers = (torch.tensor(each) for each in (degrees, shift, scale, shear))
    ours = geometry.affine(images, *given_numbers, fill)

    def theirs(image: Tensor, i: int) -> Tensor:
        filling = [fill] * len(image) if fill else None
        return tv.affine(
            image, degrees[i], list(shift[i]), scale[i], list(shear[i]), interpolation=BILINEAR, fill=filling
        )

    assert_alike(ours, images, theirs)


@given(
    images=batches(), inwards=each(st.lists(st.floats(0, 1), min_size=8, max_size=8)), fill=st.sampled_from((0.0, 0.5))
)
@settings(max_examples=30, deadline=None)
def test_perspective(images: Tensor, inwards: list[list[float]], fill: float) -> None:
    height, width = images.shape[2:]
    right, down = width - 1, height - 1
    square = torch.tensor([[0, 0], [right, 0], [right, down], [0, down]])
    towards = torch.tensor([[1, 1], [-1, 1], [-1, -1], [1, -1]])
    share = torch.tensor(inwards).view(COUNT, 4, 2)
    reach = torch.tensor([int(0.7 * (width // 2)), int(0.7 * (height // 2))])
    corners = square + towards * (share * reach).floor()
    ours = geometry.perspective(images, corners, fill)

    def theirs(image: Tensor, i: int) -> Tensor:
        filling = [fill] * len(image) if fill else None
        ends = [[int(x), int(y)] for x, y in corners[i]]
        return tv.perspective(image, square.tolist(), ends, interpolation=BILINEAR, fill=filling)

    assert_alike(ours, images, theirs)


@given(images=batches(), sigmas=numbers(0.125, 3), reach=st.integers(1, 12))
@settings(max_examples=20, deadline=None)
def test_gaussian_blur(images: Tensor, sigmas: list[float], reach: int) -> None:
    size = 2 * min(reach, min(images.shape[2:]) - 1) + 1
    ours = texture.gaussian_blur(images, torch.tensor(sigmas), size)
    assert_alike(ours, images, lambda image, i: tv.gaussian_blur(image, [size, size], [sigmas[i]] * 2))


@given(images=batches(), boxes=each(st.tuples(*[st.integers(0, 20)] * 4)), noise=st.booleans())
@settings(max_examples=20, deadline=None)
def test_erase(images: Tensor, boxes: list[tuple[int, ...]], noise: bool) -> None:
    height, width = images.shape[2:]
    filling = 1 - images if noise else 0.25
    ours = texture.erase(images, *torch.tensor(boxes).unbind(1), filling)

    def theirs(image: Tensor, i: int) -> Tensor:
        top, left = boxes[i][:2]
        inside = max(0, min(boxes[i][2], height - top)), max(0, min(boxes[i][3], width - left))
        value = (1 - image)[:, top : top + inside[0], left : left + inside[1]] if noise else torch.full((1, 1, 1), 0.25)
        return tv.erase(image, top, left, *inside, value)

    assert_alike(ours, images, theirs)


@given(
    images=batches(),
    shares=each(st.lists(st.floats(0, 1), min_size=4, max_size=4)),
    orders=each(st.permutations(range(4))),
)
@settings(max_examples=30, deadline=None)
def test_jitter_is_the_four_changes_in_their_order(
    images: Tensor, shares: list[list[float]], orders: list[list[int]]
) -> None:
    changes = [tv.adjust_brightness, tv.adjust_contrast, tv.adjust_saturation, tv.adjust_hue]
    factors = 2 * torch.tensor(shares)[:, :3]
    turns = torch.tensor(shares)[:, 3] - 0.5
    order = torch.tensor([[which for which in order if which != 3] for order in orders])
    place = torch.tensor([order.index(3) for order in orders])
    ours = colour.jitter(images, factors, turns, order, place)

    def theirs(image: Tensor, i: int) -> Tensor:
        for which in orders[i]:
            image = changes[which](image, turns[i].item() if which == 3 else factors[i, which].item())
        return image

    assert_alike(ours, images, theirs)


@given(images=batches(), shift=each(st.tuples(st.integers(-9, 9), st.integers(-9, 9))))
@settings(max_examples=20, deadline=None)
def test_translate(images: Tensor, shift: list[tuple[int, int]]) -> None:
    ours = geometry.translate(images, *torch.tensor(shift).float().unbind(1))

    def theirs(image: Tensor, i: int) -> Tensor:
        return tv.affine(image, angle=0, translate=list(shift[i]), scale=1, shear=[0, 0], interpolation=BILINEAR)

    assert_alike(ours, images, theirs)


@given(images=batches(), degrees=each(st.tuples(st.floats(-60, 60, width=32), st.floats(-60, 60, width=32))))
@settings(max_examples=20, deadline=None)
def test_shear(images: Tensor, degrees: list[tuple[float, float]]) -> None:
    ours = geometry.shear(images, *torch.tensor(degrees).unbind(1))

    def theirs(image: Tensor, i: int) -> Tensor:
        return tv.affine(image, angle=0, translate=[0, 0], scale=1, shear=list(degrees[i]), interpolation=BILINEAR)

    assert_alike(ours, images, theirs)


def test_erase_ignores_pixels_outside_the_image() -> None:
    images = torch.ones(1, 1, 4, 4)
    corner = torch.tensor([-2])
    erased = texture.erase(images, corner, corner, torch.tensor([3]), torch.tensor([3]))
    assert erased.sum() == 15
    assert erased[0, 0, 0, 0] == 0
