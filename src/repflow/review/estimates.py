"""Metrics as estimates: a value, its confidence interval if there is one, and whether more or less is better."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_MAIN = ("value", "accuracy")
"""Keys whose confidence interval is `low` to `high` in the same section."""

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
    "log_likelihood",
    "nmi",
    "over_baseline",
    "validation",
    "worst_recall",
}
_LOWER = {"brier", "ece", "loss", "nll"}
_ONLY_FOR_COMPARISON = {"random", "default"}
"""Sections with baselines: neither more nor less is better."""


@dataclass(frozen=True)
class Estimate:
    """A metric of one revision.

    Attributes:
        value: a number, a string or a boolean.
        low: lower end of its confidence interval, None without one.
        high: upper end of its confidence interval.
    """

    value: float | str
    low: float | None = None
    high: float | None = None

    @property
    def number(self) -> float | None:
        """The value if it is a number, else None."""
        return float(self.value) if isinstance(self.value, int | float) and not isinstance(self.value, bool) else None


def estimates(metrics: Any) -> dict[str, Estimate]:
    """Nested metrics by name, with dots between levels.

    The ends of intervals belong to their metric: `{"accuracy": a, "low": l, "high": h}`, the same with `value`, which
    is left out of the name, and `{"knn": a, "knn_low": l, "knn_high": h}` are one estimate each.
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


def better_direction(name: str) -> int | None:
    """1 if more is better, -1 if less is better, None if neither or unknown."""
    parts = name.split(".")
    if _ONLY_FOR_COMPARISON & set(parts):
        return None
    return 1 if parts[-1] in _HIGHER else -1 if parts[-1] in _LOWER else None
