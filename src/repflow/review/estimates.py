"""Metrics as estimates: a number, its interval where the metrics hold one, and which way is better."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_MAIN = ("value", "accuracy")
"""What `low` and `high` are the ends of, where they stand beside it."""

_HIGHER = {
    "accuracy",
    "acc",
    "ari",
    "best",
    "f1",
    "gain",
    "gap_closed",
    "knn",
    "linear",
    "nmi",
    "validation",
    "worst_recall",
}
_LOWER = {"brier", "ece", "loss", "nll"}
_ONLY_FOR_COMPARISON = {"random", "default"}
"""Sections that hold what a result is held against: neither way is better."""


@dataclass(frozen=True)
class Estimate:
    """A metric of one revision.

    Attributes:
        value: a number, or a word or truth value that cannot be more or less.
        low: lower end of its interval, None without one.
        high: upper end.
    """

    value: float | str
    low: float | None = None
    high: float | None = None

    @property
    def number(self) -> float | None:
        """The value where it is a number."""
        return float(self.value) if isinstance(self.value, int | float) and not isinstance(self.value, bool) else None


def estimates(metrics: Any) -> dict[str, Estimate]:
    """Nested metrics by their names, points between the levels.

    Ends of intervals are no metrics of their own: `{"accuracy": a, "low": l, "high": h}`, the same with `value`, which
    leaves no level of its own, and `{"knn": a, "knn_low": l, "knn_high": h}` are one estimate each.
    """
    return dict(_walk(metrics, ())) if isinstance(metrics, Mapping) else {}


def _walk(section: Mapping[str, Any], above: tuple[str, ...]) -> Iterator[tuple[str, Estimate]]:
    ends: set[str] = set()
    for key, value in section.items():
        main = key in _MAIN and "low" in section and "high" in section
        low, high = ("low", "high") if main else (f"{key}_low", f"{key}_high")
        bounded = low in section and high in section and not isinstance(value, Mapping)
        ends |= {low, high} if bounded else set()
    for key, value in section.items():
        path = above if key == "value" and above else (*above, key)
        main = key in _MAIN and "low" in ends
        low, high = ("low", "high") if main else (f"{key}_low", f"{key}_high")
        if isinstance(value, Mapping):
            yield from _walk(value, (*above, key))
        elif key not in ends:
            bounds = (float(section[low]), float(section[high])) if low in ends else (None, None)
            yield ".".join(path), Estimate(value, *bounds)


def better_when(name: str) -> int | None:
    """1 where more of the metric is better, -1 where less is, None where neither is known."""
    parts = name.split(".")
    if _ONLY_FOR_COMPARISON & set(parts):
        return None
    return 1 if parts[-1] in _HIGHER else -1 if parts[-1] in _LOWER else None
