"""Conversion between sRGB and CIELAB, which separates lightness from colour.

CIE 15:2004, with the white point D65 and sRGB (IEC 61966-2-1).
"""

import functools

import torch
from torch import Tensor

_TO_XYZ = ((0.412453, 0.357580, 0.180423), (0.212671, 0.715160, 0.072169), (0.019334, 0.119193, 0.950227))
_WHITE = tuple(sum(row) for row in _TO_XYZ)
"""D65 to four digits, computed from the matrix, so that greys have a and b of exactly 0: a normalisation layer would
amplify rounding errors."""
_BEND = 6 / 29
"""Below the cube of this, the curve is linear rather than a cube root."""


def rgb_to_lab(images: Tensor) -> Tensor:
    """Images [B, 3, H, W] in [0, 1] to L in [0, 100] and a, b within about [-108, 99]: [B, 3, H, W]."""
    linear = torch.where(images > 0.04045, ((images + 0.055) / 1.055).clamp(min=0) ** 2.4, images / 12.92)
    share = _mixed(linear, _matrix(images)) / _white(images)
    curved = torch.where(share > _BEND**3, share.clamp(min=_BEND**3) ** (1 / 3), share / (3 * _BEND**2) + 4 / 29)
    x, y, z = curved.unbind(1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], dim=1)


def lab_to_rgb(lab: Tensor) -> Tensor:
    """CIELAB to sRGB images [B, 3, H, W]; colours outside the gamut are clipped to [0, 1]."""
    lightness, a, b = lab.unbind(1)
    y = (lightness + 16) / 116
    curved = torch.stack([y + a / 500, y, y - b / 200], dim=1)
    share = torch.where(curved > _BEND, curved**3, 3 * _BEND**2 * (curved - 4 / 29)) * _white(lab)
    linear = _mixed(share, _inverse(lab)).clamp(0, 1)
    return torch.where(linear > 0.0031308, 1.055 * linear.clamp(min=1e-12) ** (1 / 2.4) - 0.055, 12.92 * linear)


def without_colour(images: Tensor) -> Tensor:
    """Images [B, 3, H, W] in [0, 1] as grey images of the same lightness, in three equal channels."""
    lightness = rgb_to_lab(images)[:, :1]
    return lab_to_rgb(torch.cat([lightness, torch.zeros_like(images[:, 1:])], dim=1))


def _mixed(images: Tensor, matrix: Tensor) -> Tensor:
    """Channels mixed by a matrix [3, 3]. No matrix product, which has 8 bits under mixed precision."""
    return (matrix[:, :, None, None] * images[:, None]).sum(dim=2)


def _matrix(like: Tensor) -> Tensor:
    return _on_cpu(like.dtype)[0].to(like.device, non_blocking=True)


def _inverse(like: Tensor) -> Tensor:
    return _on_cpu(like.dtype)[1].to(like.device, non_blocking=True)


def _white(like: Tensor) -> Tensor:
    return _on_cpu(like.dtype)[2].to(like.device, non_blocking=True)


@functools.cache
def _on_cpu(dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """The matrix, its inverse, and the white point [3, 1, 1]: copied from here, a GPU is not waited for."""
    with torch.inference_mode(False), torch.no_grad():
        matrix = torch.tensor(_TO_XYZ, dtype=dtype)
        return matrix, torch.linalg.inv(matrix), torch.tensor(_WHITE, dtype=dtype).view(3, 1, 1)
