"""Which image learns and which judges: labelled, unlabelled, validation and test sides of both domains at once.

Images that belong together (exact copies, near-duplicates, a given group; within a domain or across the two) form one
component. A component is never in training in one place and in the validation or the test in another, and within a
domain it never stands on two sides.

What happens to a row, in this order:

1. A given split is kept. Where a component names several, the test wins over the validation and the validation over
   training; the other rows of the component are excluded, so that the given test stays what it was. A row of a domain
   without given splits follows its component instead.
2. From what is left, validation and test are cut where the origin of the images gave none, per class, to the shares of
   `SplitConfig`. A row without a label never goes there by itself, only with its component; it has no label there.
3. Rows in training are labelled up to the budget of their class, the others are unlabelled.

The place of a row in the draw depends on the seed, its domain and its path alone: neither the order of the rows nor
images that are added or removed elsewhere shuffle it anew.
"""

from collections.abc import Mapping
from typing import Annotated

import numpy as np
import pandas as pd
from pydantic import Field

from repflow.data.linked_rows import EXCLUDED, OPEN, TEST, TRAIN, VALIDATION, LinkedRows, gather, rank
from repflow.data.read.rows import Side
from repflow.data.store import NO_LABEL
from repflow.errors import DataError
from repflow.schema import Count, parameters

Share = Annotated[float, Field(ge=0, lt=0.5)]


@parameters
class SplitConfig:
    """How the images of both domains are split.

    Attributes:
        labels_per_class: labels that training may see, per class and domain; None for all that there are. The source
            must have that many; the target gives what it has (only the oracle `train_on_target` reads them).
        validation: share of each class cut for the validation where the images come without one.
        test: share of each class cut for the test where the images come without one.
        near_duplicate_distance: bits in which both hashes of near-duplicates may differ; None joins exact copies only.
        divide_training_groups: let a group stand on the labelled and the unlabelled side at once. Both are training, so
            nothing leaks. Without it, what a labelled group holds beyond the budget is excluded.
    """

    labels_per_class: Count | None
    validation: Share
    test: Share
    near_duplicate_distance: Annotated[int, Field(ge=0, le=8)] | None
    divide_training_groups: bool = False


def make_splits(
    manifests: Mapping[str, pd.DataFrame], classes: tuple[str, ...], config: SplitConfig, seed: int
) -> dict[str, np.ndarray]:
    """Assign a side to every readable row of both domains.

    Args:
        manifests: "source" and "target", in this order, to the readable rows of their stores (`Store.readable`). The
            target may have no rows.
        classes: names of the source's classes; a row of another class counts as one without a label.
        config: the shares and the budget.
        seed: the seed of the run.

    Returns:
        for each domain a value of `Side` per row, in the order of its rows: str [N].

    Raises:
        DataError: the source has no labels, a class has fewer labels in training than the budget, or a class of the
            validation or the test has none in the training of the source.
    """
    rows = gather(manifests, classes, config.near_duplicate_distance, seed)
    if not (rows.label[rows.domain == 0] != NO_LABEL).any():
        raise DataError(
            "source: no image has a label, so nothing can be learnt from it or judged; give classes by folders, by a"
            " table with a column `label`, or by a file of labels"
        )
    place = _keep_given(rows)
    wanted = _wants(rows, place, config)
    _cut_components(rows, place, wanted)
    _cut_singles(rows, place, wanted)
    sides = np.array([Side.UNLABELLED, Side.VALIDATION, Side.TEST, Side.EXCLUDED], dtype=object)[place]
    for number, name in enumerate(manifests):
        training = np.flatnonzero((rows.domain == number) & (place == TRAIN))
        budget = _budget(rows.label[training], classes, config.labels_per_class, name if number == 0 else None)
        _label(rows, training, budget, Side.UNLABELLED if config.divide_training_groups else Side.EXCLUDED, sides)
    _check_classes(rows, sides, classes, tuple(manifests))
    return {name: sides[rows.domain == number].astype(str) for number, name in enumerate(manifests)}


def _keep_given(rows: LinkedRows) -> np.ndarray:
    """Places that follow from given splits: VALIDATION, TEST, EXCLUDED, and OPEN for all other rows."""
    named = np.where(np.isin(rows.given, (VALIDATION, TEST)), rows.given, TRAIN)
    strongest = np.zeros(len(named), np.int64)
    np.maximum.at(strongest, rows.component, named)
    winner = strongest[rows.component]
    stays = np.where((rows.given == winner) | (rows.given == OPEN), winner, EXCLUDED)
    return np.where(winner == TRAIN, OPEN, stays)


def _wants(rows: LinkedRows, place: np.ndarray, config: SplitConfig) -> np.ndarray:
    """How many labelled rows each place still wants of each stratum: int64 [3, strata], in the order of the places.

    A class with three images or more gives at least one to every side that is cut.
    """
    followers = (rows.given == OPEN) & (place != OPEN)
    pool = rows.count((place == OPEN) | followers)
    wants = np.zeros((3, len(pool)), np.int64)
    for side, share in ((TEST, config.test), (VALIDATION, config.validation)):
        if share > 0:
            fair = np.where(pool >= 3, np.maximum(1, np.rint(share * pool)), 0).astype(np.int64)
            cut = ~np.repeat(_has_given(rows, side), rows.classes)
            wants[side] = cut * np.minimum(fair, np.maximum(0, pool - wants.sum(0) - 1))
    wants[TRAIN] = pool - wants.sum(0)
    for side in (TEST, VALIDATION):
        wants[side] -= rows.count(followers & (place == side))
    return wants


def _has_given(rows: LinkedRows, side: int) -> np.ndarray:
    """Whether each domain came with this side: bool [2]."""
    return np.array([(rows.given[rows.domain == domain] == side).any() for domain in range(2)])


def _cut_components(rows: LinkedRows, place: np.ndarray, wants: np.ndarray) -> None:
    """Place the open components of several rows, large ones first, each where the most of its rows are wanted.

    Where all components are of one class, no place strays from its want by more than two components.
    """
    several = rows.by_component(np.flatnonzero((place == OPEN) & ~rows.alone))
    total = np.maximum(1, wants.sum(0))
    closed = np.array([[False, False], _has_given(rows, VALIDATION), _has_given(rows, TEST)])
    for component in sorted(several, key=len, reverse=True):
        strata = rows.stratum[component]
        strata = strata[strata >= 0]
        if not len(strata):
            continue
        score = (wants[:, strata] / total[strata]).sum(1)
        score[closed[:, np.unique(rows.domain[component])].any(1)] = -np.inf
        best = int(score.argmax())
        place[component] = best
        np.subtract.at(wants[best], strata, 1)


def _cut_singles(rows: LinkedRows, place: np.ndarray, wants: np.ndarray) -> None:
    """Fill what is still wanted from rows that stand alone; all others train."""
    singles = rows.drawn(np.flatnonzero((place == OPEN) & rows.alone & (rows.stratum >= 0)))
    stratum = rows.stratum[singles]
    before = rank(stratum)
    test = np.maximum(0, wants[TEST])[stratum]
    judging = test + np.maximum(0, wants[VALIDATION])[stratum]
    place[singles] = np.where(before < test, TEST, np.where(before < judging, VALIDATION, TRAIN))
    place[place == OPEN] = TRAIN


def _budget(labels: np.ndarray, classes: tuple[str, ...], wanted: int | None, strict: str | None) -> np.ndarray:
    """How many labels to show of each class: int64 [classes]. `strict` names a domain that must have them all."""
    available = np.bincount(labels[labels != NO_LABEL], minlength=len(classes))
    if wanted is None:
        return available
    short = np.flatnonzero(available < wanted)
    if strict and len(short):
        few = ", ".join(f"{classes[c]!r} has {available[c]}" for c in short[:5]) + (", ..." if len(short) > 5 else "")
        lower = f"lower it to {available.min()} or less" if available.min() else "give each class images to learn from"
        raise DataError(
            f"split.labels_per_class: {wanted} labels per class are wanted, but in the training rows of the {strict}"
            f" {few}; {lower}, lower split.validation and split.test, or set it to null for all labels"
        )
    return np.minimum(available, wanted)


def _label(rows: LinkedRows, training: np.ndarray, budget: np.ndarray, rest: Side, sides: np.ndarray) -> None:
    """Put rows of one domain's training on the labelled side until the budget of every class is met.

    Rows that stand alone go first: a label on a duplicate is a label wasted. Whole components follow as long as they
    fit, then parts of components, whose other rows go to the side `rest`.
    """
    budget = budget.copy()
    sizes = np.bincount(rows.component[training], minlength=len(rows))[rows.component[training]]
    alone = rows.drawn(training[(sizes == 1) & (rows.label[training] != NO_LABEL)])
    chosen = alone[rank(rows.label[alone]) < budget[rows.label[alone]]]
    sides[chosen] = Side.LABELLED
    budget -= np.bincount(rows.label[chosen], minlength=len(budget))
    divided = []
    for component in rows.by_component(training[sizes > 1]):
        label = rows.label[component]
        if (label == NO_LABEL).any() or (np.bincount(label, minlength=len(budget)) > budget).any():
            divided.append(component)
            continue
        sides[component] = Side.LABELLED
        budget -= np.bincount(label, minlength=len(budget))
    for component in sorted(divided, key=len):
        if not budget.any():
            break
        known = component[rows.label[component] != NO_LABEL]
        taken = known[rank(rows.label[known]) < budget[rows.label[known]]]
        if len(taken):
            sides[component] = rest
            sides[taken] = Side.LABELLED
            budget -= np.bincount(rows.label[taken], minlength=len(budget))


def _check_classes(rows: LinkedRows, sides: np.ndarray, classes: tuple[str, ...], domains: tuple[str, ...]) -> None:
    seen = np.unique(rows.label[(rows.domain == 0) & (sides == Side.LABELLED)])
    for side in (Side.TEST, Side.VALIDATION):
        for number, name in enumerate(domains):
            judged = rows.label[(rows.domain == number) & (sides == side)]
            unseen = np.setdiff1d(judged[judged != NO_LABEL], seen)
            if len(unseen):
                count = int((judged == unseen[0]).sum())
                raise DataError(
                    f"{name}: class {classes[unseen[0]]!r} has {count} images in the {side} but none with a label in"
                    f" the training of the source, so it can never be learnt ({len(unseen)} such classes); add images"
                    " of it to the training, or take it out"
                )
