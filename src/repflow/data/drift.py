"""Drift between two domains: how much image statistics such as brightness and contrast differ."""

import numpy as np
import pandas as pd

STATISTICS = ("brightness", "contrast", "entropy", "sharpness", "red", "green", "blue")
"""The manifest columns that are compared."""


def drift(source: pd.DataFrame, target: pd.DataFrame) -> pd.DataFrame:
    """The population stability index of each of `STATISTICS` between the readable rows of two manifests.

    Returns:
        columns `statistic` and `index`; no rows where a domain has no images.
    """
    names = STATISTICS if len(source) and len(target) else ()
    index = [stability_index(source[name].to_numpy(), target[name].to_numpy()) for name in names]
    return pd.DataFrame({"statistic": list(names), "index": np.array(index, float)})


def stability_index(reference: np.ndarray, other: np.ndarray, bins: int = 10) -> float:
    """Population stability index between two samples: 0 for equal distributions; above 0.25 commonly counts as a shift.

    The sum of (p - q) ln(p / q) over quantile bins of the reference, where p and q are the samples' shares of a bin; an
    empty bin counts as half a value. From 0 upwards, no unit.

    Args:
        reference: float [N], N > 0; its quantiles are the bin edges.
        other: float [M], M > 0.
        bins: number of bins.
    """
    edges = np.unique(np.quantile(reference, np.linspace(0, 1, bins + 1)[1:-1]))
    shares = []
    for values in (reference, other):
        counts = np.bincount(np.searchsorted(edges, values, side="right"), minlength=len(edges) + 1)
        shares.append(np.maximum(counts, 0.5) / len(values))
    return float(((shares[0] - shares[1]) * np.log(shares[0] / shares[1])).sum())
