"""A few measurements of one thing in three figures."""

import statistics
from collections.abc import Sequence


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, lowest and highest."""
    return {
        "median": rounded(statistics.median(values)),
        "low": rounded(min(values)),
        "high": rounded(max(values)),
    }


def rounded(value: float) -> float:
    """To four digits that count."""
    return float(f"{value:.4g}")
