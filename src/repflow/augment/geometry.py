"""Operations on whole batches that move pixels: each image by its own numbers.

Images are float [B, C, H, W] in [0, 1]. Given the same numbers, every function does to an image what
`torchvision.transforms.v2.functional` does, interpolating bilinearly.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def horizontal_flip(images: Tensor) -> Tensor:
    """Mirror left and right."""
    return images.flip(3)


def resized_crop(images: Tensor, top: Tensor, left: Tensor, height: Tensor, width: Tensor) -> Tensor:
    """Cut a box out of each image and stretch it to the image's size.

    Args:
        images: [B, C, H, W].
        top: first row of each box, whole numbers [B].
        left: first column.
        height: in pixels, from 1 to H - top.
        width: in pixels, from 1 to W - left.
    """
    rows = _centres(top, height, images.shape[2])
    columns = _centres(left, width, images.shape[3])
    grid = torch.stack(torch.broadcast_tensors(columns[:, None, :], rows[:, :, None]), dim=3)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def _centres(start: Tensor, extent: Tensor, pixels: int) -> Tensor:
    """Where the centres of `pixels` equal parts of [start, start + extent) lie, for `grid_sample`: [B, pixels].

    Centres within half a pixel of the box's edge move onto its outermost pixels: a crop knows nothing beyond its edge.
    """
    start, extent = start.float()[:, None], extent.float()[:, None]
    inside = (torch.arange(pixels, device=start.device) + 0.5) * (extent / pixels) - 0.5
    inside = inside.minimum(extent - 1).clamp(min=0)
    return (start + inside + 0.5) * (2 / pixels) - 1


def shifted_crop(images: Tensor, down: Tensor, right: Tensor, padding: int, reflect: bool = False) -> Tensor:
    """Pad every side and cut a window of the old size out.

    Args:
        images: [B, C, H, W].
        down: how far below the padded image's top the window begins, int64 [B] from 0 to 2 `padding`.
        right: how far from its left.
        padding: pixels on every side.
        reflect: pad with the image mirrored at its outermost pixels, rather than with zeros.
    """
    height, width = images.shape[2:]
    sides = (padding, padding, padding, padding)
    padded = F.pad(images, sides, mode="reflect") if reflect else F.pad(images, sides)
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)
    return windows[torch.arange(len(images), device=images.device), :, down, right]


def affine(
    images: Tensor, degrees: Tensor, translation: Tensor, scale: Tensor, shear: Tensor, fill: float = 0.0
) -> Tensor:
    """Shear, turn and scale each image about its centre, then move it.

    Args:
        images: [B, C, H, W].
        degrees: clockwise [B].
        translation: pixels to the right and down [B, 2].
        scale: above 0 [B].
        shear: degrees along x and y [B, 2], between -90 and 90.
        fill: the value of what comes in from outside.
    """
    turn, shear_x, shear_y = torch.deg2rad(degrees), *torch.deg2rad(shear).unbind(1)
    # Turn and shear as one 2x2 matrix [[a, b], [c, d]] of determinant 1; the image is sampled at its inverse.
    a = torch.cos(turn - shear_y) / torch.cos(shear_y)
    b = -a * torch.tan(shear_x) - torch.sin(turn)
    c = torch.sin(turn - shear_y) / torch.cos(shear_y)
    d = -c * torch.tan(shear_x) + torch.cos(turn)
    inverse = torch.stack([d, -b, -c, a], dim=1).view(-1, 2, 2) / scale.view(-1, 1, 1)
    # No matrix product: under mixed precision it would place pixels with 8 bits.
    offset = -(inverse * translation.to(inverse.dtype)[:, None, :]).sum(dim=2)
    return _sampled(images, inverse, offset, fill)


def _sampled(images: Tensor, matrix: Tensor, offset: Tensor, fill: float) -> Tensor:
    """Each pixel p, in pixels from the centre, takes the value at matrix · p + offset."""
    height, width = images.shape[2:]
    x = torch.arange(width, device=images.device) - (width - 1) / 2
    y = torch.arange(height, device=images.device) - (height - 1) / 2
    half = torch.tensor([width / 2, height / 2], device=images.device)
    along_x = matrix[:, None, None, :, 0] * x.view(1, 1, -1, 1)
    along_y = (matrix[:, None, :, 1] * y.view(1, -1, 1) + offset[:, None, :])[:, :, None, :]
    grid = (along_x + along_y) / half
    if fill == 0:
        return F.grid_sample(images, grid, align_corners=False)
    covered = F.grid_sample(torch.ones_like(images[:, :1]), grid, align_corners=False)
    return (F.grid_sample(images, grid, align_corners=False) - fill) * covered + fill


def rotate(images: Tensor, degrees: Tensor, fill: float = 0.0) -> Tensor:
    """Turn each image counter-clockwise about its centre by `degrees` [B]."""
    still, ones = degrees.new_zeros(len(degrees), 2), torch.ones_like(degrees)
    return affine(images, -degrees, still, ones, still, fill)


def translate(images: Tensor, right: Tensor, down: Tensor, fill: float = 0.0) -> Tensor:
    """Move each image by pixels [B], whole or not, to the right and down."""
    still = torch.zeros_like(right)
    return affine(
        images, still, torch.stack([right, down], 1), torch.ones_like(right), torch.stack([still, still], 1), fill
    )


def shear(images: Tensor, degrees_x: Tensor, degrees_y: Tensor, fill: float = 0.0) -> Tensor:
    """Shear each image about its centre by degrees [B] along x and along y."""
    still, ones = torch.zeros_like(degrees_x), torch.ones_like(degrees_x)
    return affine(images, still, torch.stack([still, still], 1), ones, torch.stack([degrees_x, degrees_y], 1), fill)
