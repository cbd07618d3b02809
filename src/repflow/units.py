"""Durations and sizes in words, with the digits that a person reads."""

import math


def duration_in_words(seconds: float) -> str:
    """A duration, as "40 s", "6 min" or "2.5 h"."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"


def size_in_words(number: int) -> str:
    """Bytes in the unit of three digits or less."""
    power = min(4, max(1, int(math.log(max(number, 1), 1024))))
    return f"{number / 1024**power:,.{1 if power > 2 else 0}f} {('', 'KiB', 'MiB', 'GiB', 'TiB')[power]}"
