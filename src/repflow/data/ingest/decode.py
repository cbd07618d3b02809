"""Decode the bytes of an image file to 8-bit pixels.

The EXIF orientation is applied, the first frame of an animation is taken, transparency is composited on white, 16 bits
are scaled to 8, and CMYK and palettes become RGB. Colour profiles are not applied. The format is that of the content,
whatever the name of the file says. HEIC needs the extra `heif`.
"""

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from repflow.data.ingest.heif_brands import may_be_heic
from repflow.data.ingest.resizing import FILTER, ImageFormat, placement

try:
    from pillow_heif import register_heif_opener
except ImportError:  # the extra `heif` is not installed
    _HEIF: tuple[str, ...] = ()
else:
    register_heif_opener()
    _HEIF = ("HEIF",)

FORMATS = ("PNG", "JPEG", "WEBP", "AVIF", "BMP", "DIB", "TIFF", "PPM", "GIF", *_HEIF)
"""The formats that Pillow may open, by its own names. Formats that run another program, such as EPS, are excluded."""

Image.init()  # loads Pillow's plugins here, so that threads do not load them at the same time

MAX_PIXELS = 89_478_485
"""An image of more pixels (Pillow's own limit for decompression bombs) is not decoded."""

MAX_BYTES = 2**29
"""A file of more bytes is not read."""

_ORIENTATION = 0x0112


class Undecodable(Exception):
    """A file cannot be decoded as an image. The text says why, without absolute paths."""


@dataclass(frozen=True)
class Decoded:
    """An image in the image format of the store.

    Attributes:
        pixels: uint8 [channels, size, size].
        width, height: of the original after its EXIF orientation is applied, in pixels.
        mode: of the original, as Pillow names it.
        frames: the number of frames of the original.
    """

    pixels: np.ndarray
    width: int
    height: int
    mode: str
    frames: int


def decode(content: bytes | Image.Image, form: ImageFormat) -> Decoded:
    """Decode one image file, or an image that Pillow has opened, to the image format of the store.

    Raises:
        Undecodable: it cannot be decoded.
    """
    with _opened(content) as image:
        mode, frames, size = image.mode, _frames(image), image.size
        _draft(image, form)
        orientation = _load(image)
        upright = ImageOps.exif_transpose(image) if orientation > 1 else image
        pixels = _resized(_plain(upright, form.channels), form)
    width, height = size[::-1] if orientation >= 5 else size
    return Decoded(pixels, width, height, mode, frames)


def decode_whole(content: bytes, longest: int) -> np.ndarray:
    """Decode one image in RGB at its own size, or shrunk to `longest` pixels along its longer side.

    Returns:
        uint8 [3, height, width].

    Raises:
        Undecodable: it cannot be decoded.
    """
    with _opened(content) as image:
        upright = ImageOps.exif_transpose(image) if _load(image) > 1 else image
        plain = _plain(upright, 3)
        plain.thumbnail((longest, longest), FILTER)
        return np.asarray(plain).transpose(2, 0, 1)


def shorter_side(content: bytes | Image.Image | Path) -> int:
    """The shorter side of an image in pixels, from its header: its pixels are not decoded.

    Args:
        content: the bytes of a file, an image that Pillow has opened, or a file on disk.

    Raises:
        Undecodable: it is not an image in a supported format, or too large.
    """
    with _opened(content) as image:
        return min(image.size)


@contextmanager
def without_decoder_warnings() -> Iterator[None]:
    """Silence Pillow's warnings about unusual but readable files. Not for use inside threads."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def _opened(content: bytes | Image.Image | Path) -> Iterator[Image.Image]:
    if content == b"":
        raise Undecodable("the file is empty")
    try:
        with content if isinstance(content, Image.Image) else _open(content) as image:
            if image.width * image.height > MAX_PIXELS:
                raise Undecodable(_too_large(f"{image.width}x{image.height} pixels"))
            yield image
    except (Undecodable, MemoryError):
        raise
    except Image.DecompressionBombError:
        raise Undecodable(_too_large("a decompression bomb")) from None
    except UnidentifiedImageError:
        if isinstance(content, bytes) and not _HEIF and may_be_heic(content):
            raise Undecodable("HEIC, which needs the extra `heif`: pip install 'repflow[heif]'") from None
        raise Undecodable("not an image in a supported format") from None
    except Exception as error:  # Pillow's plugins raise exceptions of any type on damaged files
        text = re.sub(r"<[^<>]* at 0x[0-9a-fA-F]+>", "the file", str(error)) or type(error).__name__
        raise Undecodable(f"damaged: {text}") from None


def _open(content: bytes | Path) -> Image.Image:
    return Image.open(io.BytesIO(content) if isinstance(content, bytes) else content, formats=FORMATS)


def _too_large(what: str) -> str:
    return f"{what}, more than the limit of {MAX_PIXELS:,} pixels"


def _frames(image: Image.Image) -> int:
    try:
        return int(getattr(image, "n_frames", 1))
    except Exception:  # a later frame is damaged; the first can still be decoded
        return 1


def _draft(image: Image.Image, form: ImageFormat) -> None:
    """Let the JPEG decoder downscale while it decodes, to no less than twice the final size: much faster."""
    (left, top, right, bottom), (width, height) = placement(*image.size, form.size, form.resize)
    needed = (2 * width * image.width / (right - left), 2 * height * image.height / (bottom - top))
    image.draft(None, (int(needed[0]) + 1, int(needed[1]) + 1))


def _load(image: Image.Image) -> int:
    """Decode, and return the EXIF orientation from 1 (upright) to 8; from 5 on, width and height are swapped."""
    image.load()
    try:
        orientation = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # a damaged EXIF block is ignored
        return 1
    return orientation if orientation in range(1, 9) else 1


def _plain(image: Image.Image, channels: int) -> Image.Image:
    """The image as 8-bit grey or RGB."""
    if image.mode.startswith("I") or image.mode == "F":
        image = _eight_bits(image)
    elif image.has_transparency_data:
        image = image.convert("LA").convert("RGBA") if image.mode == "La" else image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("L" if channels == 1 else "RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """16-bit or floating-point grey, scaled to 8 bits."""
    values = np.asarray(image)
    low, high = values.min(), values.max()
    if image.mode == "F":
        if not np.isfinite(values).all() or low < 0 or high > 255:
            raise Undecodable("floating-point values outside 0 to 1 and 0 to 255")
        return Image.fromarray(np.rint(values * (255 if high <= 1 else 1)).astype(np.uint8))
    if low < 0 or high > 65535:
        raise Undecodable("32-bit values outside 0 to 65535")
    return Image.fromarray(((values.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8))


def _resized(image: Image.Image, form: ImageFormat) -> np.ndarray:
    box, (width, height) = placement(*image.size, form.size, form.resize)
    pixels = np.asarray(image.resize((width, height), FILTER, box=box)).reshape(height, width, form.channels)
    if (height, width) != (form.size, form.size):
        top, left = (form.size - height) // 2, (form.size - width) // 2
        canvas = np.zeros((form.size, form.size, form.channels), np.uint8)
        canvas[top : top + height, left : left + width] = pixels
        pixels = canvas
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))
