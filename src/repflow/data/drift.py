"""How far the images of two domains lie apart in brightness, contrast and the like."""

import numpy as np
import pandas as pd

STATISTICS = ("brightness", "contrast", "entropy", "sharpness", "red", "green", "blue")
"""The columns of a manifest in which drift is looked for."""


def drift(source: pd.DataFrame, target: pd.DataFrame) -> pd.DataFrame:
    """The stability index of each of `STATISTICS` between the readable rows of two manifests.

    Returns:
        columns `statistic` and `index`; no rows where a domain has no images.
    """
    names = STATISTICS if len(source) and len(target) else ()
    index = [stability_index(source[name].to_numpy(), target[name].to_numpy()) for name in names]
    return pd.DataFrame({"statistic": list(names), "index": np.array(index, float)})


def stability_index(reference: np.ndarray, other: np.ndarray, bins: int = 10) -> float:
    """Population stability index between two samples: 0 where they are alike; above 0.25 is commonly called a shift.

    The sum of (p - q) ln(p / q) over bins of equal share of the reference, p and q the samples' shares of a bin; a bin
    without values counts as half a one. From 0 upwards, no unit.

    Args:
        reference: float [N], N > 0; says where the bins end.
        other: float [M], M > 0.
        bins: how many.
    """
    edges = np.unique(np.quantile(reference, np.linspace(0, 1, bins + 1)[1:-1]))
    shares = []
    for values in (reference, other):
        counts = np.bincount(np.searchsorted(edges, values, side="right"), minlength=len(edges) + 1)
        shares.append(np.maximum(counts, 0.5) / len(values))
    return float(((shares[0] - shares[1]) * np.log(shares[0] / shares[1])).sum())
