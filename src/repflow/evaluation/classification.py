"""Classification scores on test images, and paired comparisons of classifiers."""

from collections.abc import Mapping
from typing import Annotated

import numpy as np
from pydantic import Field
from sklearn.metrics import f1_score, recall_score

from repflow.evaluation.calibration import reliability
from repflow.evaluation.intervals import Interval, percentile_interval, resampled_means, share_of_gap
from repflow.schema import Count, parameters


@parameters
class EvaluateConfig:
    """Parameters of the evaluation.

    Attributes:
        resamples: number of bootstrap resamples of the test images.
        confidence: level of the confidence intervals.
        bins: of the calibration error.
    """

    resamples: Count = 2000
    confidence: Annotated[float, Field(gt=0, lt=1)] = 0.95
    bins: Count = 15


def scores(probabilities: np.ndarray, labels: np.ndarray, bins: int = 15) -> dict[str, float]:
    """Scores of one classifier on one test set.

    Args:
        probabilities: float [N, classes].
        labels: int64 [N].
        bins: of the calibration error.

    Returns:
        `accuracy`; `f1`, macro-averaged over the classes that occur; `worst_recall`, the lowest recall of a class;
        `ece`, the expected calibration error. All in [0, 1].
    """
    predicted = probabilities.argmax(axis=1)
    return {
        "accuracy": float((predicted == labels).mean()),
        "f1": float(f1_score(labels, predicted, labels=np.unique(labels), average="macro", zero_division=0)),
        "worst_recall": min(recalls(predicted, labels).values()),
        "ece": reliability(probabilities, labels, bins).error,
    }


def recalls(predicted: np.ndarray, labels: np.ndarray) -> dict[int, float]:
    """Recall of every class that occurs in `labels`."""
    occurring = np.unique(labels)
    found = recall_score(labels, predicted, labels=occurring, average=None, zero_division=0)
    return {int(label): float(recall) for label, recall in zip(occurring, found, strict=True)}


class Comparison:
    """Paired comparison of classifiers tested on the same images: all share the same bootstrap resamples.

    Args:
        right: classifier's name to bool [N], whether its prediction is correct.
        config: number of resamples and confidence level.
        generator: random generator of the resamples.
        groups: int64 [N], group of each row; see `resampled_means`.
    """

    def __init__(
        self,
        right: Mapping[str, np.ndarray],
        config: EvaluateConfig,
        generator: np.random.Generator,
        groups: np.ndarray | None = None,
    ):
        self._confidence = config.confidence
        self._value = {name: float(each.mean()) for name, each in right.items()}
        self._independent = len(next(iter(right.values()))) if groups is None else len(np.unique(groups))
        means = resampled_means(np.stack(list(right.values())), config.resamples, generator, groups)
        self._resampled = dict(zip(right, means.T, strict=True))

    def accuracy(self, name: str) -> Interval:
        """The accuracy of `name`; where every prediction or none is correct, with the exact binomial interval.

        All resamples are alike then, and an interval without width would claim that no image can be mistaken.
        """
        if (value := self._value[name]) in (0.0, 1.0):
            from scipy.stats import binomtest

            exact = binomtest(round(value * self._independent), self._independent)
            interval = exact.proportion_ci(self._confidence, method="exact")
            return Interval(value, float(interval.low), float(interval.high))
        return percentile_interval(self._value[name], self._resampled[name], self._confidence)

    def difference(self, name: str, other: str) -> Interval:
        """Difference in accuracy of `name` and `other`; significant if the interval does not contain 0."""
        resampled = self._resampled[name] - self._resampled[other]
        return percentile_interval(self._value[name] - self._value[other], resampled, self._confidence)

    def share_of_gap(self, name: str, floor: str, ceiling: str) -> Interval | None:
        """Fraction of the accuracy gap between `floor` (0) and `ceiling` (1) that `name` closes.

        None if `ceiling` is not better than `floor` in nearly every resample.
        """
        resampled = share_of_gap(self._resampled[name], self._resampled[floor], self._resampled[ceiling])
        value = share_of_gap(*(np.array(self._value[each]) for each in (name, floor, ceiling)))
        interval = percentile_interval(float(value), resampled, self._confidence)
        return interval if np.isfinite([interval.value, interval.low, interval.high]).all() else None
