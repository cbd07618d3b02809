"""The upsampling decoder and the patch discriminator."""

import pytest
import torch

from repflow.methods.parts.discriminator import PatchDiscriminator
from repflow.methods.parts.upsampler import Upsampler
from repflow.randomness.draws import Draw


@pytest.mark.parametrize("size", [(8, 8), (28, 28), (33, 50)])
@pytest.mark.parametrize("skip", [0, 1])
def test_outputs_of_any_size(size: tuple[int, int], skip: int) -> None:
    upsampler = Upsampler(16, (8, 4), channels=2, skip=skip)
    image = torch.zeros(3, skip, *size) if skip else None
    assert upsampler(torch.zeros(3, 16, 4, 4), size, image).shape == (3, 2, *size)


def test_the_skip_connection_keeps_positions() -> None:
    torch.manual_seed(0)
    upsampler = Upsampler(16, (8, 4), channels=2, skip=1)
    maps, image = torch.zeros(1, 16, 4, 4), torch.zeros(1, 1, 16, 16)
    spot = image.clone()
    spot[..., 8, 8] = 1
    changed = (upsampler(maps, (16, 16), spot) != upsampler(maps, (16, 16), image)).any(1)[0].nonzero()
    assert len(changed)
    assert changed.min() >= 7
    assert changed.max() <= 9


def test_a_patch_score_depends_on_its_patch_and_image_only() -> None:
    torch.manual_seed(0)
    discriminator = PatchDiscriminator(3, (8, 8))
    images = Draw(0, "images").uniform(2, 3, 32, 32)
    scores = discriminator(images)
    assert scores.shape == (2, 1, 8, 8)
    assert torch.allclose(discriminator(images[:1]), scores[:1], atol=1e-5)
