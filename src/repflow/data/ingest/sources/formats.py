"""Which files are images: by the ending of the name or, where it has none, by how the content starts.

The ending only says that a file is read. In which format is seen from the content, so that a PNG named `.jpg` is a PNG.
"""

import re
from pathlib import PurePosixPath

from repflow.data.ingest.heif_brands import starts_as_heif

EXTENSIONS = (
    ".png",
    ".jpg",
    ".jpeg",
    ".jpe",
    ".jfif",
    ".webp",
    ".avif",
    ".bmp",
    ".dib",
    ".tif",
    ".tiff",
    ".ppm",
    ".pgm",
    ".pbm",
    ".pnm",
    ".gif",
)
"""Endings of files that are read as images, in lower case."""

NEEDS_EXTRA = (".heic", ".heif", ".hif")
"""Endings of files that are read where the extra `heif` is installed, and listed as unreadable elsewhere."""

UNSUPPORTED_EXTENSIONS = (".jxl", ".jp2", ".svg", ".psd", ".raw", ".dng", ".cr2", ".nef", ".arw")
"""Endings of unsupported image formats. Such files are listed as unreadable instead of being skipped."""

START_BYTES = 16
"""How many bytes of a file `starts_as_image` needs."""

_STARTS = (
    rb"\x89PNG\r\n\x1a\n",
    rb"\xff\xd8\xff",
    rb"GIF8[79]a",
    rb"RIFF.{4}WEBP",
    rb"II\*\x00|MM\x00\*",
    rb"BM.{4}\x00{4}",
)
_START = re.compile(b"|".join(_STARTS), re.DOTALL)
_ENDING = re.compile(r"\.[A-Za-z][A-Za-z0-9_~]{0,9}")


def is_image_name(name: str) -> bool:
    """Does this name end like that of an image, whatever its case?"""
    return name.lower().endswith(EXTENSIONS + NEEDS_EXTRA + UNSUPPORTED_EXTENSIONS)


def has_ending(name: str) -> bool:
    """Does this name end in something that looks like a format, as in "a.txt", but not in "a" or "2021.05"?"""
    return _ENDING.fullmatch(PurePosixPath(name).suffix) is not None


def starts_as_image(start: bytes) -> bool:
    """Do the first `START_BYTES` bytes look like PNG, JPEG, GIF, WebP, TIFF, BMP, AVIF or HEIC?"""
    return _START.match(start) is not None or starts_as_heif(start)
