"""How AVIF and HEIC files begin: a box `ftyp` with the brand of what follows (ISO/IEC 23000-22 and 23008-12)."""

import re

_AVIF = ("avif", "avis")
_HEIC = ("heic", "heim", "heis", "heix", "hevc", "hevm", "hevs", "hevx")
_EITHER = ("mif1", "msf1")


def _start(*brands: str) -> re.Pattern[bytes]:
    return re.compile(b".{4}ftyp(?:" + "|".join(brands).encode() + b")", re.DOTALL)


_ANY_START, _HEIC_START = _start(*_AVIF, *_HEIC, *_EITHER), _start(*_HEIC, *_EITHER)


def starts_as_heif(start: bytes) -> bool:
    """Do the first 12 bytes of a file look like AVIF or HEIC, an image or a sequence of them?"""
    return _ANY_START.match(start) is not None


def may_be_heic(start: bytes) -> bool:
    """Do the first 12 bytes of a file look like HEIC, or like a file that may hold HEIC or AVIF?"""
    return _HEIC_START.match(start) is not None
