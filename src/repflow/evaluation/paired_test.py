"""Is one method better than another, given which test images each got right after trainings with several seeds?

Images and seeds are two crossed random factors, as readers and cases are where radiologists are compared (Dorfman,
Berbaum, Metz. Receiver Operating Characteristic Rating Analysis. Investigative Radiology 1992; the degrees of freedom
by Satterthwaite. An Approximate Distribution of Estimates of Variance Components. Biometrics 1946). Several questions
at once are corrected by Holm (A Simple Sequentially Rejective Multiple Test Procedure. Scandinavian Journal of
Statistics 1979).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from scipy import stats

Name = TypeVar("Name")


@dataclass(frozen=True)
class Difference:
    """A difference of accuracies.

    Attributes:
        value: its estimate, in [-1, 1].
        standard_error: over images and, if there are several, seeds.
        p: probability of a difference as high as this one or higher if there were none (one-sided).
    """

    value: float
    standard_error: float
    p: float


def paired_difference(right: np.ndarray, other: np.ndarray) -> Difference:
    """The difference between the accuracies of two methods on the same images.

    Args:
        right: whether a method is right, bool [S, N], for each of S seeds and N images.
        other: the same of the other method. With one seed, what is found holds for this seed.
    """
    differences = right.astype(np.float64) - other
    seeds, images = differences.shape
    mean = differences.mean()
    by_seed, by_image = differences.mean(axis=1), differences.mean(axis=0)
    of_image = seeds * by_image.var(ddof=1)
    if seeds == 1:
        variance, freedom = of_image / images, images - 1.0
    else:
        of_seed = images * by_seed.var(ddof=1)
        rest = differences - by_seed[:, None] - by_image + mean
        of_rest = (rest**2).sum() / ((seeds - 1) * (images - 1))
        # Each mean square has the remaining one in it, which is then counted twice.
        squares = of_image + of_seed - of_rest
        weight = of_image**2 / (images - 1) + of_seed**2 / (seeds - 1) + of_rest**2 / ((seeds - 1) * (images - 1))
        if squares <= 0:
            squares, weight = of_image, of_image**2 / (images - 1)
        variance = squares / (seeds * images)
        freedom = squares**2 / weight if weight else images - 1.0
    error = float(np.sqrt(variance))
    if error == 0:
        return Difference(float(mean), 0.0, 0.0 if mean > 0 else 1.0)
    return Difference(float(mean), error, float(stats.t.sf(mean / error, max(1.0, freedom))))


def holm(p: Mapping[Name, float]) -> dict[Name, float]:
    """The p-values of several questions, corrected: that any of those below a level is there by chance is no more
    probable than the level.

    Args:
        p: name of each question to its p-value.

    Returns:
        The corrected values, at most 1, in the order of `p`.
    """
    corrected: dict[Name, float] = {}
    highest = 0.0
    for number, name in enumerate(sorted(p, key=lambda each: p[each])):
        highest = max(highest, min(1.0, (len(p) - number) * p[name]))
        corrected[name] = highest
    return {name: corrected[name] for name in p}
