"""The operations: random parameters per image, probability, and no GPU synchronisation."""

from collections.abc import Callable
from typing import Any, get_args

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from repflow.augment import colour, geometry, operations, texture
from repflow.augment.operation import Operation
from repflow.augment.per_sample import apply_chosen
from repflow.augment.policy import AnyOperation, Policy
from repflow.augment.strength import TRANSFORMS
from repflow.randomness.draws import Draw

KINDS: tuple[type[Operation], ...] = get_args(get_args(AnyOperation)[0])
"""Every operation that a policy can name."""

Masked = Callable[[Callable[[], Any]], Any]
Compare = Callable[[Tensor, Tensor], bool]

STRONG: dict[str, dict[str, Any]] = {
    "affine": {"degrees": 30.0, "translation": 0.2, "scale": (0.7, 1.3), "shear": 20.0, "fill": 0.5},
    "colour_jitter": {"brightness": 0.8, "contrast": 0.8, "saturation": 0.8, "hue": 0.5},
    "randaugment": {"strength": (0.0, 1.0)},
    "solarise": {"threshold": (0.0, 1.0)},
    "gaussian_noise": {"sigma": (0.1, 0.3)},
}
"""Parameters for operations whose defaults are the identity or the same for all images."""

ALIKE = {"greyscale", "invert", "equalise", "autocontrast", "horizontal_flip", "vertical_flip"}
"""Operations without random parameters."""


def made(kind: type[Operation], **changed: Any) -> Operation:
    name = kind.__dataclass_fields__["op"].default  # type: ignore[attr-defined]
    return kind(**{**STRONG.get(name, {}), **changed})


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
class TestEveryOperation:
    @pytest.mark.parametrize("channels", [1, 3])
    @pytest.mark.parametrize("size", [8, 32])
    def test_images_stay_images(self, kind: type[Operation], channels: int, size: int) -> None:
        images = Draw(1, "images").uniform(6, channels, size, size)
        before = images.clone()
        after = made(kind, probability=1.0)(images, Draw(0, "test"))
        assert after.shape == images.shape
        assert after.dtype == torch.float32
        assert 0 <= after.min() <= after.max() <= 1
        assert torch.equal(images, before), "the images that were given must stay as they are"

    def test_images_that_chance_leaves_out_stay(self, kind: type[Operation], photographs: Tensor) -> None:
        images = photographs.repeat(8, 1, 1, 1)
        after = made(kind, probability=0.5)(images, Draw(0, "test"))
        changed = (after != images).flatten(1).any(1)
        assert 0.2 < changed.float().mean() < 0.8

    def test_probability_0_is_the_identity(self, kind: type[Operation], photographs: Tensor) -> None:
        assert torch.equal(made(kind, probability=0.0)(photographs, Draw(0, "test")), photographs)

    def test_parameters_are_drawn_per_image(self, kind: type[Operation], photographs: Tensor) -> None:
        operation = made(kind, probability=1.0)
        after = operation(photographs[:1].expand(16, -1, -1, -1), Draw(0, "test"))
        different = len(after.flatten(1).unique(dim=0))
        assert different == 1 if operation.op in ALIKE else different >= 4  # type: ignore[attr-defined]

    def test_nothing_is_read_back_from_a_device(self, kind: type[Operation]) -> None:
        """Images on the "meta" device have no values, so code that would synchronise with a GPU fails."""
        images = torch.empty(16, 3, 32, 32, device="meta")
        after = made(kind, probability=1.0)(images, Draw(0, "test", device="meta"))
        assert after.shape == images.shape
        assert made(kind, probability=0.5)(images, Draw(0, "test", device="meta")).device.type == "meta"

    @pytest.mark.parametrize("probability", [0.5, 1.0])
    def test_the_masked_form_gives_the_same_images(
        self, kind: type[Operation], probability: float, images: Tensor, masked: Masked, hardly_different: Compare
    ) -> None:
        many, before = images.repeat(4, 1, 1, 1), images.clone()
        operation = made(kind, probability=probability)
        found = masked(lambda: operation(many, Draw(0, "test")))
        assert hardly_different(found, operation(many, Draw(0, "test")))
        assert torch.equal(many[: len(before)], before), "the images that were given must stay as they are"

    def test_the_masked_form_leaves_other_images_exactly(
        self, kind: type[Operation], photographs: Tensor, masked: Masked
    ) -> None:
        found = masked(lambda: made(kind, probability=0.0)(photographs, Draw(0, "test")))
        assert torch.equal(found, photographs)

    def test_the_masked_form_asks_nothing_of_the_host(self, kind: type[Operation], masked: Masked) -> None:
        """Neither about images nor about parameters, which are beside them: on "meta" neither have values."""
        images, draw = torch.empty(16, 3, 32, 32, device="meta"), Draw(0, "test", device="meta")
        for probability in (0.5, 1.0):
            operation = made(kind, probability=probability)
            assert masked(lambda operation=operation: operation(images, draw)).shape == images.shape
            drawn = operation.draw_params(16, (3, 32, 32), draw)
            assert {each.device.type for each in drawn.params} <= {"meta"}

    def test_the_masked_form_is_one_graph(
        self, kind: type[Operation], photographs: Tensor, masked: Masked, whole_graph: list[Any]
    ) -> None:
        views = Policy((made(kind, probability=0.5),))
        plain = masked(lambda: views(photographs, Draw(3, "test")))
        views.compile()
        assert torch.equal(masked(lambda: views(photographs, Draw(3, "test"))), plain)
        assert len(whole_graph) == 1

    def test_the_draw_decides(self, kind: type[Operation], photographs: Tensor) -> None:
        operation = made(kind)
        first, again = (operation(photographs, Draw(5, "test", step=3)) for _ in range(2))
        assert torch.equal(first, again)


@pytest.fixture
def boxes(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """Top, left, height and width of every crop that is made from now on: each [B]."""
    seen: list[Tensor] = []

    def crop(images: Tensor, top: Tensor, left: Tensor, height: Tensor, width: Tensor, size: None) -> Tensor:
        seen.extend((top, left, height, width))
        return images

    monkeypatch.setattr(geometry, "resized_crop", crop)
    return seen


def test_random_resized_crops_are_inside_the_image_and_in_range(boxes: list[Tensor]) -> None:
    images = torch.zeros(2000, 1, 60, 80)
    operations.RandomResizedCrop(scale=(0.2, 0.6), ratio=(0.5, 2.0))(images, Draw(0, "test"))
    top, left, height, width = boxes
    assert (top >= 0).all()
    assert (top + height <= 60).all()
    assert (left >= 0).all()
    assert (left + width <= 80).all()
    share, ratio = height * width / (60 * 80), width / height
    assert 0.18 < share.min() < 0.22
    assert 0.55 < share.max() < 0.62
    assert 0.47 < ratio.min() < 0.55
    assert 1.8 < ratio.max() < 2.1
    # Every place is reached, the first and the last one too.
    small = (height < 40) & (width < 60)
    assert set(torch.stack([top, top + height - 60])[:, small].abs().amin(1).tolist()) == {0.0}
    assert set(torch.stack([left, left + width - 80])[:, small].abs().amin(1).tolist()) == {0.0}


def test_a_crop_that_never_fits_is_the_largest_of_its_ratio(boxes: list[Tensor]) -> None:
    operations.RandomResizedCrop(scale=(1.0, 1.0), ratio=(4.0, 4.0))(torch.zeros(3, 1, 32, 32), Draw(0, "test"))
    assert boxes[2].tolist() == [8, 8, 8]
    assert boxes[3].tolist() == [32, 32, 32]


def test_a_crop_of_the_whole_image_is_the_image(photographs: Tensor) -> None:
    square = photographs[..., :40]
    whole = operations.RandomResizedCrop(scale=(1.0, 1.0), ratio=(1.0, 1.0))
    assert torch.allclose(whole(square, Draw(0, "test")), square, atol=1e-5)


def test_colour_jitter_with_one_strength_is_that_change(photographs: Tensor) -> None:
    operation = operations.ColourJitter(contrast=0.5)
    factors = Draw(0, "test").uniform(len(photographs), low=0.5, high=1.5)
    assert torch.equal(operation(photographs, Draw(0, "test")), colour.contrast(photographs, factors))


def test_colour_jitter_applies_each_change_once_in_a_random_order_per_image(photographs: Tensor) -> None:
    images = photographs[:1].expand(64, -1, -1, -1)
    after = operations.ColourJitter(brightness=0.5, contrast=0.5)(images, Draw(0, "test"))
    draw = Draw(0, "test")
    bright, contrasted = (draw.uniform(64, low=0.5, high=1.5) for _ in range(2))
    one = colour.contrast(colour.brightness(images, bright), contrasted)
    other = colour.brightness(colour.contrast(images, contrasted), bright)
    is_one = (after - one).abs().flatten(1).amax(1) < 1e-6
    is_other = (after - other).abs().flatten(1).amax(1) < 1e-6
    assert (is_one | is_other).all()
    assert 10 < is_one.sum() < 54


def test_channels_are_shifted_each_by_itself_and_borders_repeated(photographs: Tensor) -> None:
    operation = operations.ChannelShift(pixels=2)
    down, right = operation.make_params(8, (3, 40, 48), Draw(0, "test"))
    assert {*down.flatten().tolist(), *right.flatten().tolist()} == {-2, -1, 0, 1, 2}
    after = operation.transform(photographs, down, right)
    rows, columns = torch.arange(40), torch.arange(48)
    for image in range(8):
        for channel in range(3):
            from_row = (rows - down[image, channel]).clamp(0, 39)
            from_column = (columns - right[image, channel]).clamp(0, 47)
            assert torch.equal(after[image, channel], photographs[image, channel][from_row][:, from_column])
    grey = photographs[:, :1]
    assert torch.equal(operation(grey, Draw(0, "test")), grey)


def test_downsampled_images_are_means_of_areas_enlarged_again(photographs: Tensor) -> None:
    images = photographs[:, :, :, :40].double()  # 40 x 40 pixels
    shares = torch.tensor([1, 1 / 2, 1 / 4, 1 / 5, 1 / 8, 1 / 10, 1 / 40, 0.003], dtype=torch.float64)
    after = texture.coarser(images, shares)
    for number, side in enumerate((40, 20, 10, 8, 5, 4, 1, 1)):
        fewer = F.avg_pool2d(images[number : number + 1], 40 // side)
        expected = F.interpolate(fewer, (40, 40), mode="bilinear")[0]
        assert torch.allclose(after[number], expected, atol=1e-9), side


def test_sides_that_do_not_divide_are_reduced_by_the_areas_of_pixels(photographs: Tensor) -> None:
    column = photographs[:1, :1, :5, :1].double()
    found = texture.coarser(column, torch.tensor([0.6], dtype=torch.float64))[0, 0, :, 0]
    a, b, c, d, e = column.flatten().tolist()
    three = torch.tensor([(a + 2 / 3 * b) * 0.6, (b / 3 + c + d / 3) * 0.6, (2 / 3 * d + e) * 0.6])
    assert torch.allclose(found, F.interpolate(three[None, None].double(), 5, mode="linear")[0, 0], atol=1e-6)


def test_the_share_of_pixels_that_remain_is_uniform() -> None:
    (sides,) = operations.Downsample(scale=(0.1, 0.6)).make_params(4000, (3, 32, 32), Draw(0, "test"))
    quantiles = torch.quantile(sides.square(), torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0]))
    assert quantiles.tolist() == pytest.approx([0.1, 0.225, 0.35, 0.475, 0.6], abs=0.02)


def test_cutout_erases_a_square_that_may_hang_over_the_edge() -> None:
    images = torch.ones(500, 3, 32, 32)
    erased = operations.Cutout(size=(0.5, 0.5), value=0.25)(images, Draw(0, "test"))
    assert set(erased.unique().tolist()) == {0.25, 1.0}
    pixels = (erased[:, 0] == 0.25).sum((1, 2))
    assert pixels.max() == 16 * 16
    assert pixels.min() < 16 * 16


def test_apply_chosen_uses_each_image_s_transform_and_parameters() -> None:
    images = torch.arange(5.0).view(5, 1, 1, 1).expand(5, 1, 2, 2)
    numbers = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0])
    changes = [
        lambda part, n: part + n.view(-1, 1, 1, 1),
        lambda part, n: part - n.view(-1, 1, 1, 1),  # chosen by none
        lambda part, n: part * n.view(-1, 1, 1, 1),
    ]
    after = apply_chosen(images, torch.tensor([0, 2, 0, 2, 2]), changes, numbers)
    assert after[:, 0, 0, 0].tolist() == [1, 2, 5, 12, 20]


@pytest.mark.parametrize("name", TRANSFORMS)
def test_every_choice_of_randaugment_changes_more_when_it_is_stronger(name: Any, photographs: Tensor) -> None:
    def distance(strength: float) -> float:
        operation = operations.RandAugment(rounds=1, strength=(strength, strength), choices=(name,))
        return float((operation(photographs, Draw(0, "test")) - photographs).abs().mean())

    if name == "identity":
        assert distance(1.0) == 0
    elif name in ("autocontrast", "equalise"):
        assert distance(0.0) == distance(1.0) > 0
    else:
        assert distance(0.0) < 0.002
        assert distance(1.0) > distance(0.3) > distance(0.0)


def test_randaugment_draws_two_of_its_choices_for_each_image(photographs: Tensor) -> None:
    images = photographs[:1].expand(64, -1, -1, -1)
    operation = operations.RandAugment(rounds=2, strength=(1.0, 1.0), choices=("identity", "equalise"))
    after = operation(images, Draw(0, "test"))
    stayed = (after == images).flatten(1).all(1)
    assert 0.1 < stayed.float().mean() < 0.45, "a quarter is expected to draw the identity twice"


def test_smaller_views_are_crops_at_a_lower_resolution() -> None:
    images = Draw(1, "images").uniform(4, 3, 28, 28)
    reduced = operations.RandomResizedCrop(scale=(0.3, 1.0), resolution=0.75)
    sized = operations.RandomResizedCrop(scale=(0.3, 1.0), size=21)
    assert reduced.shape((3, 28, 28)) == (3, 21, 21)
    assert torch.equal(reduced(images, Draw(0, "test")), sized(images, Draw(0, "test")))


def test_a_smaller_view_is_made_of_every_image() -> None:
    with pytest.raises(ValueError, match="probability 1"):
        operations.RandomResizedCrop(resolution=0.5, probability=0.9)
