"""Choosing among fitted classifiers, and combining them, by their probabilities on validation images.

Caruana, Niculescu-Mizil, Crew, Ksikes. Ensemble Selection from Libraries of Models. ICML 2004: from the best model on,
the member that improves the mean of the probabilities most is added, with replacement. Before that, the probabilities
are calibrated by one temperature a model (Guo, Pleiss, Sun, Weinberger. On Calibration of Modern Neural Networks. ICML
2017), as an overconfident member would outvote the others.

With few validation images the highest of several scores is mostly luck. So all models that are worse than the best one
by less than two standard errors of the difference are averaged (Hansen, Lunde, Nason. The Model Confidence Set.
Econometrica 2011; docs/recipes.md has what that gains), unless the best one is better than their mean by more than
that; another one is added only if it improves by more. Models that read the same features have one voice together.
Where models may not be combined, the simplest of them is taken (as by the rule of Breiman, Friedman, Olshen, Stone.
Classification and Regression Trees. 1984, section 3.4.3, with one standard error).
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from repflow.schema import Count, NonNegative, parameters


@parameters
class SelectConfig:
    """Parameters of the choice.

    Attributes:
        combine: whether the mean of several classifiers may be chosen.
        members: maximum number of classifiers in it.
        gain: smaller improvements of the mean log-likelihood of a validation image, in nats, are none.
        noise: nor are improvements below so many standard errors of the paired difference.
    """

    combine: bool = True
    members: Count = 5
    gain: NonNegative = 0.01
    noise: NonNegative = 2.0


@dataclass(frozen=True)
class Choice:
    """What was chosen.

    Attributes:
        weights: name to weight of each member, the first chosen first; they sum to 1.
        temperatures: name to temperature of every candidate.
        log_likelihoods: name to mean log-likelihood of a validation image, in nats, after calibration.
        accuracies: name to accuracy on the validation images.
        log_likelihood: that of the chosen one.
        accuracy: that of the chosen one.
    """

    weights: Mapping[str, float]
    temperatures: Mapping[str, float]
    log_likelihoods: Mapping[str, float]
    accuracies: Mapping[str, float]
    log_likelihood: float
    accuracy: float


TEMPERATURES = np.geomspace(0.1, 10, 81)
"""The temperatures to choose from, 1 in their middle; log-likelihoods hardly change from one to the next."""

_SPREAD = 0.5
"""Prior standard deviation of a temperature's logarithm."""
_SURPRISE = 0.01
"""Share of the probability that is divided evenly among the classes before a likelihood is taken, so that one image
that is predicted wrong with certainty does not outweigh all others."""
_ENOUGH = 5_000
"""Images that a temperature is fitted on at most, evenly spaced: enough for one number."""
_ROUNDS = 12
"""Most additions to an ensemble, those of the same member included: weights are multiples of a twelfth or more."""


def choose(
    probabilities: Mapping[str, np.ndarray],
    labels: np.ndarray,
    config: SelectConfig | None = None,
    groups: np.ndarray | None = None,
    families: Mapping[str, str] | None = None,
) -> Choice:
    """Choose a classifier, or a weighted mean of some.

    Args:
        probabilities: name of each candidate to its probabilities of the validation images, float [N, classes]; from
            the simplest candidate to the most complex one, as the simpler one of equals is taken.
        labels: int64 [N], N above 0.
        config: the parameters.
        groups: int64 [N], numbers of the images' groups, which are not independent; None if all images are.
        families: name of a candidate to that of its family, whose members share one weight where several candidates
            are averaged, as they err together; a candidate that is not among them is a family of its own.
    """
    config = config or SelectConfig()
    temperatures = {name: temperature(each, labels) for name, each in probabilities.items()}
    calibrated = {name: at_temperature(each, temperatures[name]) for name, each in probabilities.items()}
    singles = {name: log_likelihoods(each, labels) for name, each in calibrated.items()}
    members = _start(calibrated, labels, singles, config, groups, families or {})
    while config.combine and len(members) < _ROUNDS:
        found = _addition(calibrated, labels, members, config, groups)
        if found is None:
            break
        members.append(found)
    chosen = _mean(calibrated, members)
    return Choice(
        weights={name: count / len(members) for name, count in Counter(members).items()},
        temperatures=temperatures,
        log_likelihoods={name: float(each.mean()) for name, each in singles.items()},
        accuracies={name: _accuracy(each, labels) for name, each in probabilities.items()},
        log_likelihood=float(log_likelihoods(chosen, labels).mean()),
        accuracy=_accuracy(chosen, labels),
    )


def temperature(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """The temperature with the highest posterior density: likelihood of the labels, times a prior around 1.

    The fewer images, the nearer to 1.

    Args:
        probabilities: float [N, classes].
        labels: int64 [N].

    Returns:
        One of `TEMPERATURES`.
    """
    if len(labels) > _ENOUGH:
        some = np.linspace(0, len(labels) - 1, _ENOUGH).round().astype(int)
        probabilities, labels = probabilities[some], labels[some]
    scores = [
        log_likelihoods(at_temperature(probabilities, float(each)), labels).sum() - np.log(each) ** 2 / (2 * _SPREAD**2)
        for each in TEMPERATURES
    ]
    best = np.flatnonzero(np.isclose(scores, np.max(scores), rtol=0, atol=1e-9))
    return float(np.round(min(TEMPERATURES[best], key=lambda each: abs(np.log(each))), 4))


def at_temperature(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities [N, classes] after dividing their logits by the temperature."""
    logits = np.log(np.maximum(probabilities, np.finfo(np.float64).tiny)) / temperature
    scaled = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: np.ndarray = scaled / scaled.sum(axis=1, keepdims=True)
    return shares


def log_likelihoods(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The log-likelihood of every image's label, in nats: float64 [N]."""
    classes = probabilities.shape[1]
    own = probabilities[np.arange(len(labels)), labels]
    logs: np.ndarray = np.log((1 - _SURPRISE) * own + _SURPRISE / classes)
    return logs


def improves(difference: np.ndarray, config: SelectConfig, groups: np.ndarray | None = None) -> bool:
    """Whether the mean of paired differences [N] is above `gain` and above the noise."""
    mean = float(difference.mean())
    return mean > config.gain and mean > config.noise * _standard_error(difference, groups)


def _standard_error(values: np.ndarray, groups: np.ndarray | None) -> float:
    """The standard error of the mean of values [N]; values of one group are not independent of each other."""
    off = values - values.mean()
    sums = off if groups is None else np.bincount(groups, off)
    count = len(sums)
    if count < 2:
        return float("inf")
    return float(np.sqrt((sums**2).sum() * count / (count - 1)) / len(values))


def _start(
    calibrated: Mapping[str, np.ndarray],
    labels: np.ndarray,
    singles: Mapping[str, np.ndarray],
    config: SelectConfig,
    groups: np.ndarray | None,
    families: Mapping[str, str],
) -> list[str]:
    """The models that the best one does not improve on, the best first; uncombined, the simplest of them.

    A model that is alone in its family comes as often as all members of another family together.
    """
    ranked = sorted(singles, key=lambda name: -float(singles[name].mean()))
    best = ranked[0]
    equals = [name for name in singles if not improves(singles[best] - singles[name], config, groups)]
    if not config.combine:
        return equals[:1]
    members: list[str] = []
    for name in (each for each in ranked if each in equals):
        copies = any(np.allclose(calibrated[name], calibrated[other], atol=1e-6) for other in members)
        if not copies and len(members) < config.members:
            members.append(name)
    sizes = Counter(families.get(name, name) for name in members)
    equal = math.lcm(*sizes.values())
    members = [name for name in members for _ in range(equal // sizes[families.get(name, name)])]
    together = log_likelihoods(_mean(calibrated, members), labels)
    return [best] if improves(singles[best] - together, config, groups) else members


def _addition(
    calibrated: Mapping[str, np.ndarray],
    labels: np.ndarray,
    members: Sequence[str],
    config: SelectConfig,
    groups: np.ndarray | None,
) -> str | None:
    """The member whose addition improves the mean most; None if none improves it."""
    before = log_likelihoods(_mean(calibrated, members), labels)
    full = len(set(members)) >= config.members
    gains = {
        name: log_likelihoods(_mean(calibrated, [*members, name]), labels) - before
        for name in calibrated
        if name in members or not full
    }
    able = [name for name, each in gains.items() if improves(each, config, groups)]
    return max(able, key=lambda name: float(gains[name].mean()), default=None)


def _mean(calibrated: Mapping[str, np.ndarray], members: Sequence[str]) -> np.ndarray:
    """The mean probabilities of the members, who may occur several times."""
    mean: np.ndarray = np.mean([calibrated[name] for name in members], axis=0)
    return mean


def _accuracy(probabilities: np.ndarray, labels: np.ndarray) -> float:
    return float((probabilities.argmax(axis=1) == labels).mean())
