"""mixup and CutMix against torchvision, and on several processes."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms import v2

from repflow.augment.mixing import CutMix, Mixing, Mixup, cutmix, mixup, partner_indices
from repflow.errors import ParameterError
from repflow.randomness.draws import Draw
from repflow.schema import build

CLASSES = 12


@pytest.fixture
def batch(photographs: Tensor) -> tuple[Tensor, Tensor]:
    """Twelve images of twelve classes."""
    images = torch.cat([photographs, photographs[:4].flip(3)])
    return images, torch.eye(CLASSES)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_mixup_equals_torchvision(batch: tuple[Tensor, Tensor], share: float) -> None:
    images, labels = batch
    theirs = v2.MixUp(num_classes=CLASSES)
    parameters = {"labels": labels.argmax(1), "batch_size": len(images), "lam": share}
    ours = mixup(images, labels, torch.full((12,), share), torch.arange(12).roll(1))
    assert torch.allclose(ours[0], theirs.transform(images, parameters), atol=1e-6)
    assert torch.allclose(ours[1], theirs.transform(parameters["labels"], parameters), atol=1e-6)


def test_cutmix_equals_torchvision(batch: tuple[Tensor, Tensor]) -> None:
    images, labels = batch
    theirs = v2.CutMix(num_classes=CLASSES)
    box = {"top": 3, "left": 30, "height": 20, "width": 18}
    parameters = {
        "labels": labels.argmax(1),
        "batch_size": len(images),
        "box": (30, 3, 48, 23),
        "lam_adjusted": 1 - 20 * 18 / (40 * 48),
    }
    ours = cutmix(
        images, labels, **{side: torch.full((12,), n) for side, n in box.items()}, others=torch.arange(12).roll(1)
    )
    assert torch.allclose(ours[0], theirs.transform(images, parameters), atol=1e-6)
    assert torch.allclose(ours[1], theirs.transform(parameters["labels"], parameters), atol=1e-6)


@pytest.mark.parametrize("mixing", [Mixup(alpha=1.0), CutMix()], ids=lambda mixing: mixing.op)
class TestEveryMixing:
    def test_a_label_is_the_share_of_pixels(self, mixing: Mixing) -> None:
        """Every image is constant with the value of its class, so that pixels show which image they come from."""
        labels = torch.eye(CLASSES)
        values = torch.arange(CLASSES) / CLASSES
        mixed, soft = mixing(values.view(-1, 1, 1, 1).expand(-1, 3, 20, 24), labels, Draw(0, "test"))
        assert torch.allclose(mixed.mean((1, 2, 3)), soft @ values, atol=1e-5)
        assert torch.allclose(soft.sum(1), torch.ones(CLASSES))
        assert ((soft > 0).sum(1) <= 2).all()
        assert soft.diagonal().unique().numel() > 6, "each image has a share of its own"

    def test_what_is_given_stays(self, mixing: Mixing, batch: tuple[Tensor, Tensor]) -> None:
        before = [each.clone() for each in batch]
        mixing(*batch, Draw(0, "test"))
        assert all(torch.equal(*pair) for pair in zip(batch, before, strict=True))

    def test_images_that_chance_leaves_out_stay(self, mixing: Mixing, batch: tuple[Tensor, Tensor]) -> None:
        rare = type(mixing)(alpha=mixing.alpha, probability=0.5)
        images, labels = (each.repeat(19, *[1] * (each.ndim - 1)) for each in batch)
        _, soft = rare(images, labels, Draw(0, "test"))
        assert 0.35 < (soft.amax(1) == 1).float().mean() < 0.65

    @pytest.mark.parametrize("ranks", [2, 3, 6])
    def test_processes_make_of_their_shares_what_one_makes_of_the_batch(
        self, mixing: Mixing, batch: tuple[Tensor, Tensor], ranks: int
    ) -> None:
        images, labels = batch
        whole = mixing(images, labels, Draw(1, "test", 5))
        for rank in range(ranks):
            draw = Draw(1, "test", 5, rank=rank, ranks=ranks)
            mine = mixing(images[rank::ranks], labels[rank::ranks], draw)
            assert torch.allclose(mine[0], whole[0][rank::ranks], atol=1e-6)
            assert torch.allclose(mine[1], whole[1][rank::ranks], atol=1e-6)

    def test_nothing_is_read_back_from_a_device(self, mixing: Mixing) -> None:
        images, labels = torch.empty(12, 3, 32, 32, device="meta"), torch.empty(12, CLASSES, device="meta")
        mixed, soft = mixing(images, labels, Draw(0, "test", device="meta"))
        assert (mixed.device.type, mixed.shape, soft.shape) == ("meta", images.shape, labels.shape)

    def test_the_masked_form_is_the_same(
        self, mixing: Mixing, batch: tuple[Tensor, Tensor], masked: Callable[[Callable[[], Any]], Any]
    ) -> None:
        found = masked(lambda: mixing(*batch, Draw(0, "test")))
        for one, other in zip(found, mixing(*batch, Draw(0, "test")), strict=True):
            assert torch.equal(one, other)
        images, labels = torch.empty(12, 3, 32, 32, device="meta"), torch.empty(12, CLASSES, device="meta")
        mixed, _ = masked(lambda: mixing(images, labels, Draw(0, "test", device="meta")))
        assert mixed.shape == images.shape

    def test_cross_entropy_takes_the_labels(self, mixing: Mixing, batch: tuple[Tensor, Tensor]) -> None:
        _, soft = mixing(*batch, Draw(0, "test"))
        logits = Draw(0, "logits").normal(12, CLASSES)
        expected = -(soft * logits.log_softmax(1)).sum(1).mean()
        assert torch.allclose(F.cross_entropy(logits, soft), expected)


@pytest.mark.parametrize("count", [2, 5, 8])
def test_partners_are_a_permutation_without_fixed_points(count: int) -> None:
    found = partner_indices(count)
    assert sorted(found.tolist()) == list(range(count))
    assert (found != torch.arange(count)).all()


def test_a_batch_of_one_is_mixed_with_itself(photographs: Tensor) -> None:
    mixed, soft = Mixup()(photographs[:1], torch.eye(1), Draw(0, "test"))
    assert torch.allclose(mixed, photographs[:1])
    assert soft.tolist() == [[1.0]]


def test_errors_name_the_parameter() -> None:
    with pytest.raises(ParameterError, match=r"mix\.alpha: 0 is not allowed"):
        build(Mixing, {"op": "mixup", "alpha": 0}, "mix")
