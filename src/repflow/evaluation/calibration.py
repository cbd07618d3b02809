"""Calibration: reliability diagrams and the expected calibration error.

Guo, Pleiss, Sun, Weinberger. On Calibration of Modern Neural Networks. ICML 2017.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Reliability:
    """A reliability diagram: samples in equal-width bins of confidence, the probability of the predicted class.

    Attributes:
        rows: int64 [bins], samples per bin.
        confidence: float64 [bins], mean confidence, 0 for empty bins.
        accuracy: float64 [bins], accuracy, 0 for empty bins.
    """

    rows: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray

    @property
    def error(self) -> float:
        """Expected calibration error: the mean of |accuracy - confidence| over rows, in [0, 1]."""
        return float((self.rows * np.abs(self.accuracy - self.confidence)).sum() / max(1, self.rows.sum()))


def reliability(probabilities: np.ndarray, labels: np.ndarray, bins: int = 15) -> Reliability:
    """Bin samples by confidence; bins include their upper edge.

    Args:
        probabilities: float [N, classes].
        labels: int64 [N].
        bins: number of bins.
    """
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    bin_of = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    rows = np.bincount(bin_of, minlength=bins)
    some = np.maximum(rows, 1)
    return Reliability(
        rows=rows,
        confidence=np.bincount(bin_of, confidence, minlength=bins) / some,
        accuracy=np.bincount(bin_of, right, minlength=bins) / some,
    )
