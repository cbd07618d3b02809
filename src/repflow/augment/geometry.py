"""Geometric transforms of whole batches, with per-sample parameters.

Images are float [B, C, H, W] in [0, 1]. Given the same parameters, every function gives the result of
`torchvision.transforms.v2.functional` with bilinear interpolation. The parameters may be on the CPU while the images
are on another device.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from repflow.augment.per_sample import pair, to_device


def horizontal_flip(images: Tensor) -> Tensor:
    """Flip left and right."""
    return images.flip(3)


def vertical_flip(images: Tensor) -> Tensor:
    """Flip top and bottom."""
    return images.flip(2)


def resized_crop(
    images: Tensor, top: Tensor, left: Tensor, height: Tensor, width: Tensor, size: tuple[int, int] | None = None
) -> Tensor:
    """Crop a box of each image and resize it.

    Args:
        images: [B, C, H, W].
        top: first row of each box, integers [B].
        left: first column.
        height: in pixels, from 1 to H - top.
        width: in pixels, from 1 to W - left.
        size: height and width of the result; None for those of the images. There is no anti-aliasing filter, as
            with torchvision's `antialias=False`.
    """
    rows, columns = size or (images.shape[2], images.shape[3])
    y = to_device(_centres(top, height, rows, images.shape[2]), images)
    x = to_device(_centres(left, width, columns, images.shape[3]), images)
    grid = torch.stack(torch.broadcast_tensors(x[:, None, :], y[:, :, None]), dim=1)  # faster than stacked last
    return F.grid_sample(images, grid.permute(0, 2, 3, 1), padding_mode="border", align_corners=False)


def _centres(start: Tensor, extent: Tensor, parts: int, pixels: int) -> Tensor:
    """Centres of `parts` equal parts of [start, start + extent), in coordinates of `grid_sample`: [B, parts].

    Centres within half a pixel of the box's edge are clamped to its outermost pixels: a crop has none beyond.
    """
    start, extent = start.float()[:, None], extent.float()[:, None]
    inside = (torch.arange(parts, device=start.device) + 0.5) * (extent / parts) - 0.5
    inside = inside.minimum(extent - 1).clamp(min=0)
    return (start + inside + 0.5) * (2 / pixels) - 1


def shifted_crop(images: Tensor, down: Tensor, right: Tensor, padding: int, reflect: bool = False) -> Tensor:
    """Pad every side and crop a window of the original size.

    Args:
        images: [B, C, H, W].
        down: first row of the window in the padded image, int64 [B] from 0 to 2 `padding`.
        right: first column.
        padding: pixels on every side.
        reflect: reflection padding rather than zeros.
    """
    height, width = images.shape[2:]
    sides = (padding, padding, padding, padding)
    padded = F.pad(images, sides, mode="reflect") if reflect else F.pad(images, sides)
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)
    return windows[
        torch.arange(len(images), device=images.device), :, to_device(down, images), to_device(right, images)
    ]


def shifted_channels(images: Tensor, down: Tensor, right: Tensor, reach: int) -> Tensor:
    """Shift every channel by itself; the pixels at the border are repeated.

    Args:
        images: [B, C, H, W].
        down: rows by which each channel moves, int64 [B, C] from -`reach` to `reach`.
        right: columns.
        reach: largest shift in pixels.
    """
    height, width = images.shape[2:]
    windows = F.pad(images, (reach,) * 4, mode="replicate").unfold(2, height, 1).unfold(3, width, 1)
    image, channel = (torch.arange(count, device=images.device) for count in images.shape[:2])
    return windows[image[:, None], channel, to_device(reach - down, images), to_device(reach - right, images)]


def affine(
    images: Tensor, degrees: Tensor, translation: Tensor, scale: Tensor, shear: Tensor, fill: float = 0.0
) -> Tensor:
    """Shear, rotate and scale each image about its centre, then translate it.

    Args:
        images: [B, C, H, W].
        degrees: clockwise [B].
        translation: pixels to the right and down [B, 2].
        scale: above 0 [B].
        shear: degrees along x and y [B, 2], between -90 and 90.
        fill: value of pixels from outside the image.
    """
    turn, shear_x, shear_y = torch.deg2rad(degrees), *torch.deg2rad(shear).unbind(1)
    # Rotation and shear as one 2x2 matrix [[a, b], [c, d]] of determinant 1; the image is sampled at its inverse.
    a = torch.cos(turn - shear_y) / torch.cos(shear_y)
    b = -a * torch.tan(shear_x) - torch.sin(turn)
    c = torch.sin(turn - shear_y) / torch.cos(shear_y)
    d = -c * torch.tan(shear_x) + torch.cos(turn)
    inverse = torch.stack([d, -b, -c, a], dim=1).view(-1, 2, 2) / scale.view(-1, 1, 1)
    # No matrix product: under mixed precision it would compute coordinates with 8 bits.
    offset = -(inverse * translation.to(inverse.dtype)[:, None, :]).sum(dim=2)

    # Each pixel (x, y), counted from the centre, takes the value at `inverse` · (x, y) + `offset`.
    height, width = images.shape[2:]
    to_grid = 2 / pair(width, height, offset.device)  # half a side is 1
    x = torch.arange(width, device=offset.device) - (width - 1) / 2
    y = torch.arange(height, device=offset.device) - (height - 1) / 2
    along_x = inverse[:, :, :1] * x * to_grid[:, None]  # [B, 2, W]
    along_y = (inverse[:, :, 1:] * y + offset[:, :, None]) * to_grid[:, None]  # [B, 2, H]
    planes = to_device(along_x, images)[:, :, None, :] + to_device(along_y, images)[:, :, :, None]
    return _sampled(images, planes, fill)


def perspective(images: Tensor, corners: Tensor, fill: float = 0.0) -> Tensor:
    """The perspective transform that moves the corners of each image to given points.

    Args:
        images: [B, C, H, W], of 2 pixels or more each way.
        corners: the new positions of (0, 0), (W - 1, 0), (W - 1, H - 1) and (0, H - 1), x and y in pixels: [B, 4, 2];
            no three on one line.
        fill: value of pixels from outside the image.
    """
    height, width = images.shape[2:]
    square = (far_corners(corners.device) * pair(width - 1, height - 1, corners.device)).to(corners)  # [4, 2]
    # (x, y) takes the value at ((ax + by + c) / (gx + hy + 1), (dx + ey + f) / (gx + hy + 1)); two equations a corner.
    known = torch.cat([corners, torch.ones_like(corners[..., :1])], dim=2).double()  # [B, 4, 3]
    zeros = torch.zeros_like(known)
    right = square.double().expand(len(corners), -1, -1)
    rows_x = torch.cat([known, zeros, -right[..., :1] * known[..., :2]], dim=2)
    rows_y = torch.cat([zeros, known, -right[..., 1:] * known[..., :2]], dim=2)
    system = torch.cat([rows_x, rows_y], dim=1)  # [B, 8, 8]
    # `solve` would make the host wait for a GPU, to ask whether the system has a solution.
    found = torch.linalg.solve_ex(system, right.transpose(1, 2).flatten(1)).result.float()
    matrix = torch.cat([found, torch.ones_like(found[:, :1])], dim=1).view(-1, 3, 3)

    x = torch.arange(width, device=matrix.device) + 0.5
    y = torch.arange(height, device=matrix.device) + 0.5
    along_x = matrix[:, :, :1] * x  # [B, 3, W]
    along_y = matrix[:, :, 1:2] * y + matrix[:, :, 2:]  # [B, 3, H]
    planes = to_device(along_x, images)[:, :, None, :] + to_device(along_y, images)[:, :, :, None]
    to_grid = (2 / pair(width, height, images.device)).view(2, 1, 1)
    return _sampled(images, planes[:, :2] / planes[:, 2:] * to_grid - 1, fill)


def far_corners(device: torch.device | str) -> Tensor:
    """1 for corners at the right and at the bottom, else 0; clockwise from the upper left one: int64 [4, 2]."""
    corners = torch.arange(4, device=device)
    return torch.stack([(corners + 1) // 2 % 2, corners // 2], dim=1)


def _sampled(images: Tensor, planes: Tensor, fill: float) -> Tensor:
    """Sample images at coordinates in [-1, 1], x and y as planes [B, 2, H, W], which is faster than interleaved."""
    grid = planes.permute(0, 2, 3, 1)
    if fill == 0:
        return F.grid_sample(images, grid, align_corners=False)
    covered = F.grid_sample(torch.ones_like(images[:, :1]), grid, align_corners=False)
    return (F.grid_sample(images, grid, align_corners=False) - fill) * covered + fill


def rotate(images: Tensor, degrees: Tensor, fill: float = 0.0) -> Tensor:
    """Rotate each image counter-clockwise about its centre by `degrees` [B]."""
    still, ones = degrees.new_zeros(len(degrees), 2), torch.ones_like(degrees)
    return affine(images, -degrees, still, ones, still, fill)


def translate(images: Tensor, right: Tensor, down: Tensor, fill: float = 0.0) -> Tensor:
    """Translate each image by pixels [B], possibly fractional, to the right and down."""
    still = torch.zeros_like(right)
    return affine(
        images, still, torch.stack([right, down], 1), torch.ones_like(right), torch.stack([still, still], 1), fill
    )


def shear(images: Tensor, degrees_x: Tensor, degrees_y: Tensor, fill: float = 0.0) -> Tensor:
    """Shear each image about its centre by degrees [B] along x and along y."""
    still, ones = torch.zeros_like(degrees_x), torch.ones_like(degrees_x)
    return affine(images, still, torch.stack([still, still], 1), ones, torch.stack([degrees_x, degrees_y], 1), fill)
