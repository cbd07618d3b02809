"""Which unlabelled images to label next: uncertain ones that stand for many others, and not for the same.

Bae, Oliveira, Sutherland. Uncertainty Herding: One Active Learning Method for All Label Budgets. ICLR 2025. The rows S
are chosen greedily so that

    sum over unlabelled rows i of u(i) * max over j in S and in the labelled rows of k(i, j)

grows most: u is the uncertainty of the prediction, k a Gaussian kernel of the features. With few labels nearly all rows
are uncertain, and this is coverage alone (MaxHerding; Bae, Noh, Sutherland. ECCV 2024); with many, the sum is over the
rows that the classifier cannot decide. A near-duplicate of a row that is labelled or chosen adds nothing. The objective
is submodular, so that the greedy choice has at least 1 - 1/e of the best sum, and a row's gain never grows: only rows
whose last gain could still be the largest are looked at again (Minoux. Accelerated greedy algorithms. 1978).
"""

from dataclasses import dataclass

import numpy as np

from repflow.randomness.seeds import numpy_generator

WIDTH = 4.0
"""The squared distance at which the kernel is 1/e, in mean squared distances to the nearest labelled row."""
MOST = 5_000
"""Rows that are covered, and rows that are looked at, at most: random ones of more."""
_AT_ONCE = 512
_AGAIN = 64
"""Rows whose gain is computed at once: the first time, and again."""
_NOTHING = 1e-6
"""A row that covers less than this share of the uncertainty adds nothing."""


@dataclass(frozen=True)
class Suggestions:
    """Rows to label, the most useful first.

    Attributes:
        rows: int64 [n], positions in the unlabelled rows.
        gains: float64 [n], the share of all uncertainty that each covers and those before it do not, in [0, 1].
    """

    rows: np.ndarray
    gains: np.ndarray


def suggest(
    features: np.ndarray, probabilities: np.ndarray, labelled: np.ndarray, count: int, seed: int = 0
) -> Suggestions:
    """The rows to label next, the most useful first.

    Args:
        features: of the unlabelled rows, float [N, D].
        probabilities: of their classes, float [N, K]; every row sums to 1.
        labelled: features of the labelled rows, float [L, D]; L may be 0.
        count: how many rows are wanted. There are fewer where all others are like rows that are labelled or chosen.
        seed: draws the rows that are covered where there are more than `MOST`.
    """
    order = numpy_generator(seed, "suggest").permutation(len(features))
    rows = np.sort(order[:MOST])
    if not len(rows):
        return Suggestions(rows, np.empty(0))
    points, known = _unit(features[rows]), _unit(labelled)
    distances = _nearest(points, known) if len(known) else _typical(points)
    width = max(WIDTH * float(distances.mean()), 1e-12)
    covered = np.exp(-distances / width) if len(known) else np.zeros(len(points))
    coverage = _Coverage(points, uncertainty(probabilities[rows]), covered, width)
    chosen, gains = coverage.greedy(count)
    return Suggestions(rows[chosen], gains)


def uncertainty(probabilities: np.ndarray) -> np.ndarray:
    """1 - the margin between the two most probable classes, in [0, 1]: float64 [N] of probabilities [N, K]."""
    if probabilities.shape[1] < 2:
        return np.ones(len(probabilities))
    two = np.partition(probabilities.astype(np.float64), -2, axis=1)[:, -2:]
    return 1 - (two[:, 1] - two[:, 0])


class _Coverage:
    """The weighted coverage of points, and its greedy maximisation.

    Args:
        points: float32 [N, D], of unit length.
        weights: float64 [N], not negative.
        covered: float64 [N] in [0, 1], how far each point is covered already.
        width: the squared distance at which the kernel has fallen to 1/e.
    """

    def __init__(self, points: np.ndarray, weights: np.ndarray, covered: np.ndarray, width: float):
        self._points, self._covered, self._width = points, covered.astype(np.float32), width
        self._weights = (weights / max(weights.sum(), 1e-12)).astype(np.float32)

    def greedy(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """At most `count` points, the largest gain first, the first of equals: int64 [n], and their gains."""
        bounds = np.concatenate([self._gains(part) for part in _parts(np.arange(len(self._points)), _AT_ONCE)])
        chosen: list[int] = []
        gains: list[float] = []
        while len(chosen) < count:
            best = self._largest(bounds)
            if bounds[best] < _NOTHING:
                break
            chosen.append(best)
            gains.append(float(bounds[best]))
            self._covered = np.maximum(self._covered, self._kernel(np.array([best]))[:, 0])
            bounds[best] = 0
        return np.array(chosen, np.int64), np.array(gains)

    def _largest(self, bounds: np.ndarray) -> int:
        """The point with the largest gain; `bounds`, which are gains of earlier rounds, are renewed on the way."""
        fresh = np.zeros(len(bounds), bool)
        while True:
            best = int(bounds.argmax())
            if fresh[best]:
                return best
            stale = np.flatnonzero(~fresh)
            again = stale[np.argsort(-bounds[stale], kind="stable")[:_AGAIN]]
            bounds[again] = np.minimum(bounds[again], self._gains(again))
            fresh[again] = True

    def _gains(self, rows: np.ndarray) -> np.ndarray:
        """What each of these points, int64 [n], would add: float64 [n]."""
        more = np.maximum(self._kernel(rows) - self._covered[:, None], 0)
        found: np.ndarray = (self._weights @ more).astype(np.float64)
        return found

    def _kernel(self, rows: np.ndarray) -> np.ndarray:
        """The kernel between every point and these: float32 [N, n]."""
        return np.exp((_squared(self._points, self._points[rows])) / -self._width)


def _unit(features: np.ndarray) -> np.ndarray:
    """Features at unit length, float32 [N, D]; features of 0 stay so."""
    exact = features.astype(np.float32)
    unit: np.ndarray = exact / np.maximum(np.linalg.norm(exact, axis=1, keepdims=True), 1e-12)
    return unit


def _squared(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Squared distances of unit vectors [N, D] and [M, D]: float32 [N, M]."""
    squared: np.ndarray = np.maximum(2 - 2 * (left @ right.T), 0)
    return squared


def _nearest(points: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The squared distance of each point [N, D] to the nearest of the others [M, D]: float32 [N]."""
    return np.concatenate([_squared(part, others).min(axis=1) for part in _parts(points, _AT_ONCE)])


def _typical(points: np.ndarray) -> np.ndarray:
    """Squared distances of the points to their mean direction, where there is no labelled one: float32 [N]."""
    return _squared(points, points.mean(axis=0, keepdims=True))[:, 0]


def _parts(values: np.ndarray, size: int) -> list[np.ndarray]:
    return [values[first : first + size] for first in range(0, len(values), size)]
