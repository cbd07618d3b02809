"""Blur, sharpness, noise and erasing on whole batches, with per-sample parameters.

Images are float [B, C, H, W] in [0, 1]. Given the same parameters, `gaussian_blur` and `sharpness` give the
result of `torchvision.transforms.v2.functional`. The parameters may be on the CPU while the images are on another
device.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from repflow.augment.colour import blend
from repflow.augment.per_sample import to_device


def gaussian_blur(images: Tensor, sigmas: Tensor, size: int) -> Tensor:
    """Gaussian blur with reflection padding.

    Args:
        images: [B, C, H, W].
        sigmas: standard deviation in pixels, above 0 [B].
        size: of the kernel in pixels, odd, at most 2 min(H, W) - 1.
    """
    radius = size // 2
    places = torch.arange(-radius, radius + 1, device=sigmas.device)
    kernels = to_device(torch.softmax(-0.5 * (places / sigmas[:, None]) ** 2, dim=1), images)  # [B, size]
    for axis in (2, 3):
        padding = (radius, radius, 0, 0) if axis == 3 else (0, 0, radius, radius)
        padded = F.pad(images, padding, mode="reflect")
        extent = images.shape[axis]
        images = padded.narrow(axis, 0, extent) * kernels[:, 0].view(-1, 1, 1, 1)
        for place in range(1, size):
            images.addcmul_(padded.narrow(axis, place, extent), kernels[:, place].view(-1, 1, 1, 1))
    return images


def sharpness(images: Tensor, factors: Tensor) -> Tensor:
    """Blend with a smoothed image: factor 0 gives the smoothed image, 1 the original. `factors` [B], at least 0.

    The smoothing is a 3x3 mean with weight 5 at the centre; border pixels are not changed.
    """
    if min(images.shape[2:]) < 3:
        return images
    rows = images[:, :, :-2] + images[:, :, 1:-1] + images[:, :, 2:]
    mean = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]
    mean.add_(images[:, :, 1:-1, 1:-1], alpha=4).div_(13)
    smooth = images.clone()
    smooth[:, :, 1:-1, 1:-1] = mean
    return blend(smooth, images, factors)


def coarser(images: Tensor, shares: Tensor) -> Tensor:
    """Reduce each image to fewer pixels, averages of areas, and enlarge it again by bilinear interpolation.

    Args:
        images: [B, C, H, W].
        shares: of height and width that remain [B], in [0, 1]; at least one pixel does.
    """
    exact = images.to(torch.promote_types(images.dtype, torch.float32))  # under mixed precision they may have 8 bits
    reduced = _through_fewer_rows(_through_fewer_rows(exact, shares).mT, shares).mT
    return reduced.clamp(0, 1).to(images.dtype)


def _through_fewer_rows(images: Tensor, shares: Tensor) -> Tensor:
    """Reduce and enlarge the height. No matrix product, which has 8 bits under mixed precision."""
    height = images.shape[2]
    shares = to_device(shares, images).to(images.dtype)[:, None]
    fewer = (shares * height).round().clamp(min=1)  # [B, 1]
    place = torch.arange(height + 1, device=images.device)
    # A row of the fewer ones is the mean of what lies between two edges, each the sum of all that is above it.
    sums = F.pad(images.cumsum(2), (0, 0, 1, 0))  # [B, C, H + 1, W]
    edges = (place * height / fewer).clamp(max=height)  # [B, H + 1]
    above = edges.floor().clamp(max=height - 1)
    until = _rows_at(sums, above).lerp(_rows_at(sums, above + 1), (edges - above)[:, None, :, None])
    means = until.diff(dim=2) * (fewer / height)[:, :, None, None]  # [B, C, H, W]; rows from `fewer` on are not used
    centre = ((place[:-1] + 0.5) * fewer / height - 0.5).clamp(min=0).minimum(fewer - 1)  # [B, H]
    first = centre.floor()
    second = (first + 1).minimum(fewer - 1)
    return _rows_at(means, first).lerp(_rows_at(means, second), (centre - first)[:, None, :, None])


def _rows_at(images: Tensor, rows: Tensor) -> Tensor:
    """Rows [B, N] of images [B, C, H, W]: [B, C, N, W]."""
    each = rows.long()[:, None, :, None].expand(-1, images.shape[1], -1, images.shape[3])
    return images.gather(2, each)


def gaussian_noise(images: Tensor, noise: Tensor, sigmas: Tensor) -> Tensor:
    """Add noise [B, C, H, W] of standard deviation `sigmas` [B]."""
    return torch.addcmul(images, to_device(noise, images), to_device(sigmas, images).view(-1, 1, 1, 1)).clamp_(0, 1)


def erase(
    images: Tensor, top: Tensor, left: Tensor, height: Tensor, width: Tensor, value: float | Tensor = 0.0
) -> Tensor:
    """Fill a box of each image; the part of the box outside the image is ignored.

    Args:
        images: [B, C, H, W].
        top: first row of each box, integers [B], may be negative.
        left: first column.
        height: in pixels.
        width: in pixels.
        value: of the erased pixels, in [0, 1]: one number, or images [B, C, H, W].
    """
    inside = box_mask(top, left, height, width, images)
    filling = to_device(value, images) if isinstance(value, Tensor) else value
    return images + inside * (filling - images)


def box_mask(top: Tensor, left: Tensor, height: Tensor, width: Tensor, images: Tensor) -> Tensor:
    """1 inside each box and 0 outside: [B, 1, H, W]."""
    rows = to_device(_within(top, height, images.shape[2]), images)
    columns = to_device(_within(left, width, images.shape[3]), images)
    return (rows[:, :, None] & columns[:, None, :]).to(images.dtype)[:, None]


def _within(start: Tensor, extent: Tensor, pixels: int) -> Tensor:
    places = torch.arange(pixels, device=start.device)
    return (places >= start[:, None]) & (places < (start + extent)[:, None])
