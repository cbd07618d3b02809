"""Summary of repeated measurements: median, minimum and maximum."""

import statistics
from collections.abc import Sequence


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, minimum and maximum."""
    return {
        "median": rounded(statistics.median(values)),
        "low": rounded(min(values)),
        "high": rounded(max(values)),
    }


def rounded(value: float) -> float:
    """The value with four significant digits."""
    return float(f"{value:.4g}")
