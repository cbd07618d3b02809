"""Image statistics of the manifest, computed for whole batches: hashes, brightness, sharpness and others.

Everything up to the last division is done in integers, so that the statistics are the same on every machine.
"""

import hashlib

import numpy as np
from scipy.fft import dct

from repflow.data.ingest.resizing import scale

CHUNK_PIXELS = 2**22
"""Grey pixels per chunk: enough for fast NumPy calls, few enough to stay in the CPU cache."""

HASH_SIDE = 32
"""The side, in pixels, of the grey image whose cosine coefficients are hashed."""


def image_facts(images: np.ndarray) -> dict[str, np.ndarray]:
    """The statistics of every image.

    Args:
        images: uint8 [N, channels, size, size] with 1 or 3 channels.

    Returns:
        A column [N] for each of sha256, phash, dhash, brightness, contrast, entropy, sharpness, red, green and blue,
        defined in `repflow.data.store.COLUMNS`.
    """
    if not len(images):
        blank = np.zeros((1, *images.shape[1:]), np.uint8)
        return {name: column[:0] for name, column in _chunk_facts(blank).items()}
    step = max(1, CHUNK_PIXELS // images[0, 0].size)
    parts = [_chunk_facts(images[first : first + step]) for first in range(0, len(images), step)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def grey(images: np.ndarray) -> np.ndarray:
    """Luma of images, uint8 [N, height, width], with the ITU-R 601 weights and Pillow's rounding.

    Args:
        images: uint8 [N, channels, height, width] with 1 or 3 channels.
    """
    if images.shape[1] == 1:
        return images[:, 0]
    red, green, blue = (images[:, channel].astype(np.uint32) for channel in range(3))
    return ((red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16).astype(np.uint8)


def phash(planes: np.ndarray) -> np.ndarray:
    """Perceptual hashes uint64 [N] of grey images uint8 [N, height, width].

    Each bit says whether one of the 8 x 8 lowest DCT coefficients of the image at 32 x 32 is above their median (as in
    pHash by Zauner, 2010). Hashes of similar images differ in few bits.
    """
    small = scale(planes, HASH_SIDE, HASH_SIDE).astype(np.float64)
    rows = dct(small, axis=1, norm="ortho")[:, :8]
    low = dct(rows, axis=2, norm="ortho")[:, :, :8].reshape(-1, 64)
    low = np.round(low, 3) + 0.0  # removes rounding errors around zero, so that all blank images have the same hash
    return _pack(low > np.median(low, axis=1, keepdims=True))


def dhash(planes: np.ndarray) -> np.ndarray:
    """Difference hashes uint64 [N] of grey images uint8 [N, height, width]: is a pixel brighter than its left one?"""
    small = scale(planes, 8, 9)
    return _pack((small[:, :, 1:] > small[:, :, :-1]).reshape(-1, 64))


def sha256(images: np.ndarray) -> np.ndarray:
    """Hexadecimal SHA-256 of every image's bytes, str [N]."""
    flat = np.ascontiguousarray(images).reshape(len(images), -1)
    return np.array([hashlib.sha256(row.data).hexdigest() for row in flat], dtype="U64")


def _chunk_facts(images: np.ndarray) -> dict[str, np.ndarray]:
    planes = grey(images)
    means = images.mean(axis=(2, 3), dtype=np.float64)
    brightness, contrast = _mean_and_deviation(planes)
    return {
        "sha256": sha256(images),
        "phash": phash(planes),
        "dhash": dhash(planes),
        "brightness": brightness,
        "contrast": contrast,
        "entropy": _entropy(planes),
        "sharpness": _sharpness(planes),
        "red": means[:, 0],
        "green": means[:, means.shape[1] // 2],
        "blue": means[:, -1],
    }


def _mean_and_deviation(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each plane, from exact sums."""
    flat = values.reshape(len(values), -1).astype(np.int32)
    count = flat.shape[1]
    total = flat.sum(axis=1, dtype=np.int64)
    squares = np.einsum("ij,ij->i", flat, flat, dtype=np.int64)
    return total / count, np.sqrt(squares * count - total**2) / count


def _entropy(planes: np.ndarray) -> np.ndarray:
    """Entropy in bits of each plane's histogram."""
    count, pixels = len(planes), planes[0].size
    cells = planes.reshape(count, -1) + np.arange(count, dtype=np.int64)[:, None] * 256
    shares = np.bincount(cells.ravel(), minlength=count * 256).reshape(count, 256) / pixels
    logarithms = np.log2(shares, out=np.zeros_like(shares), where=shares > 0)
    return np.asarray(np.abs(-(shares * logarithms).sum(axis=1)))  # abs: a single colour has 0 bits, not -0


def _sharpness(planes: np.ndarray) -> np.ndarray:
    """Variance of the Laplacian of each plane, without the border."""
    wide = planes.astype(np.int16)
    centre = wide[:, 1:-1, 1:-1]
    around = wide[:, :-2, 1:-1] + wide[:, 2:, 1:-1] + wide[:, 1:-1, :-2] + wide[:, 1:-1, 2:]
    return _mean_and_deviation(around - 4 * centre)[1] ** 2


def _pack(bits: np.ndarray) -> np.ndarray:
    """bool [N, 64] to uint64 [N], most significant bit first."""
    return np.packbits(bits, axis=1).reshape(-1).view(">u8").astype(np.uint64)
