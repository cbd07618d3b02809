"""Splits: labelled, unlabelled, validation and test rows of both domains, stratified by class and without leakage.

Images that belong together (exact copies, near-duplicates, a given group; within a domain or across the two) form one
component. A component is never partly in training and partly in the validation split or the test set, and within a
domain all of its rows are on the same side of the split.

What happens to a row, in this order:

1. A given split is kept. Where a component contains several, test takes precedence over validation and validation over
   training; the other rows of the component are excluded, so that the given test set stays unchanged. A row of a domain
   without given splits follows its component instead.
2. From the remaining rows, validation and test rows are drawn in domains that gave none, per class, to the shares of
   `SplitConfig`. A row without a label only gets there with its component, and has no label there.
3. Rows in training are labelled up to the label budget of their class, the others are unlabelled.

The random order of rows depends on the seed, the domain and the path alone: it does not change with the order of the
manifest, nor with images that are added or removed elsewhere.
"""

from collections.abc import Mapping
from typing import Annotated

import numpy as np
import pandas as pd
from pydantic import Field

from repflow.data.linked_rows import (
    EXCLUDED,
    TEST,
    TRAIN,
    UNASSIGNED,
    VALIDATION,
    LinkedRows,
    count_before,
    link_manifests,
)
from repflow.data.read.rows import Side
from repflow.data.store import NO_LABEL
from repflow.errors import DataError
from repflow.schema import Count, parameters

Share = Annotated[float, Field(ge=0, lt=0.5)]


@parameters
class SplitConfig:
    """How the images of both domains are split.

    Attributes:
        labels_per_class: labels that training may see, per class and domain; None for all. The source must have that
            many; of the target, as many as there are are used (only the oracle `train_on_target` reads them).
        validation: share of each class for the validation split, where the data come without one.
        test: share of each class for the test set, where the data come without one. Both need labelled images of the
            source (`judgeable`).
        near_duplicate_distance: bits in which both hashes of near-duplicates may differ; None links exact copies only.
        divide_training_groups: allow a group to be partly labelled and partly unlabelled. Both are training, so nothing
            leaks. If false, the rows of a labelled group beyond the label budget are excluded.
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
        config: the shares and the label budget.
        seed: the random seed of the run.

    Returns:
        for each domain a value of `Side` per row, in the order of its rows: str [N].

    Raises:
        DataError: the source has no labels, a class has fewer labels in training than the budget, or a class of the
            validation split or the test set has none in the training rows of the source.
    """
    rows = link_manifests(manifests, classes, config.near_duplicate_distance, seed)
    if not (rows.label[rows.domain == 0] != NO_LABEL).any():
        raise DataError(
            "source: no image has a label, so no classifier can be trained or tested; give classes as folder names, as"
            " the column `label` of a table, or as an IDX file of labels"
        )
    assigned = _apply_given_splits(rows)
    quotas = _quotas(rows, assigned, config)
    _assign_components(rows, assigned, quotas)
    _assign_singles(rows, assigned, quotas)
    sides = np.array([Side.UNLABELLED, Side.VALIDATION, Side.TEST, Side.EXCLUDED], dtype=object)[assigned]
    for number, name in enumerate(manifests):
        training = np.flatnonzero((rows.domain == number) & (assigned == TRAIN))
        budget = _label_budget(rows.label[training], classes, config.labels_per_class, name if number == 0 else None)
        _choose_labelled(
            rows, training, budget, Side.UNLABELLED if config.divide_training_groups else Side.EXCLUDED, sides
        )
    _check_classes(rows, sides, classes, tuple(manifests))
    return {name: sides[rows.domain == number].astype(str) for number, name in enumerate(manifests)}


def _apply_given_splits(rows: LinkedRows) -> np.ndarray:
    """Assignments that follow from given splits: VALIDATION, TEST, EXCLUDED, and UNASSIGNED for all other rows."""
    named = np.where(np.isin(rows.given, (VALIDATION, TEST)), rows.given, TRAIN)
    strongest = np.zeros(len(named), np.int64)
    np.maximum.at(strongest, rows.component, named)
    winner = strongest[rows.component]
    stays = np.where((rows.given == winner) | (rows.given == UNASSIGNED), winner, EXCLUDED)
    return np.where(winner == TRAIN, UNASSIGNED, stays)


def _quotas(rows: LinkedRows, assigned: np.ndarray, config: SplitConfig) -> np.ndarray:
    """How many labelled rows of each stratum are still to be assigned to TRAIN, VALIDATION and TEST: int64 [3, strata].

    A class with three images or more gives at least one to every side that is drawn.
    """
    followers = (rows.given == UNASSIGNED) & (assigned != UNASSIGNED)
    pool = rows.count((assigned == UNASSIGNED) | followers)
    quotas = np.zeros((3, len(pool)), np.int64)
    for side, share in ((TEST, config.test), (VALIDATION, config.validation)):
        if share > 0:
            fair = np.where(pool >= 3, np.maximum(1, np.rint(share * pool)), 0).astype(np.int64)
            cut = ~np.repeat(_has_given(rows, side), rows.classes)
            quotas[side] = cut * np.minimum(fair, np.maximum(0, pool - quotas.sum(0) - 1))
    quotas[TRAIN] = pool - quotas.sum(0)
    for side in (TEST, VALIDATION):
        quotas[side] -= rows.count(followers & (assigned == side))
    return quotas


def _has_given(rows: LinkedRows, side: int) -> np.ndarray:
    """Whether the data of each domain came with this split: bool [2]."""
    return np.array([(rows.given[rows.domain == domain] == side).any() for domain in range(2)])


def _assign_components(rows: LinkedRows, assigned: np.ndarray, quotas: np.ndarray) -> None:
    """Assign components of several rows, the largest first, each to where its classes are furthest below their quota.

    If every component has a single class, no side deviates from its quota by more than two components.
    """
    several = rows.by_component(np.flatnonzero((assigned == UNASSIGNED) & ~rows.is_single))
    total = np.maximum(1, quotas.sum(0))
    closed = np.array([[False, False], _has_given(rows, VALIDATION), _has_given(rows, TEST)])
    for component in sorted(several, key=len, reverse=True):
        strata = rows.stratum[component]
        strata = strata[strata >= 0]
        if not len(strata):
            continue
        score = (quotas[:, strata] / total[strata]).sum(1)
        score[closed[:, np.unique(rows.domain[component])].any(1)] = -np.inf
        best = int(score.argmax())
        assigned[component] = best
        np.subtract.at(quotas[best], strata, 1)


def _assign_singles(rows: LinkedRows, assigned: np.ndarray, quotas: np.ndarray) -> None:
    """Fill the rest of the quotas with rows that are linked to no other; everything left is training."""
    singles = rows.shuffled(np.flatnonzero((assigned == UNASSIGNED) & rows.is_single & (rows.stratum >= 0)))
    stratum = rows.stratum[singles]
    before = count_before(stratum)
    test = np.maximum(0, quotas[TEST])[stratum]
    held_out = test + np.maximum(0, quotas[VALIDATION])[stratum]
    assigned[singles] = np.where(before < test, TEST, np.where(before < held_out, VALIDATION, TRAIN))
    assigned[assigned == UNASSIGNED] = TRAIN


def _label_budget(
    labels: np.ndarray, classes: tuple[str, ...], requested: int | None, strict: str | None
) -> np.ndarray:
    """How many labels of each class training may see: int64 [classes]. `strict` names a domain that must have all."""
    available = np.bincount(labels[labels != NO_LABEL], minlength=len(classes))
    if requested is None:
        return available
    short = np.flatnonzero(available < requested)
    if strict and len(short):
        few = ", ".join(f"{classes[c]!r} has {available[c]}" for c in short[:5]) + (", ..." if len(short) > 5 else "")
        lower = f"lower it to {available.min()} or less" if available.min() else "add training images to each class"
        raise DataError(
            f"split.labels_per_class: {requested} labels per class requested, but in the training rows of the {strict}"
            f" {few}; {lower}, lower split.validation and split.test, or set it to null for all labels"
        )
    return np.minimum(available, requested)


def _choose_labelled(rows: LinkedRows, training: np.ndarray, budget: np.ndarray, rest: Side, sides: np.ndarray) -> None:
    """Mark training rows of one domain as labelled until the label budget of every class is used.

    Rows without duplicates come first: a label on a duplicate adds little. Whole components follow as long as they fit,
    then parts of components, whose other rows go to the side `rest`.
    """
    budget = budget.copy()
    sizes = np.bincount(rows.component[training], minlength=len(rows))[rows.component[training]]
    alone = rows.shuffled(training[(sizes == 1) & (rows.label[training] != NO_LABEL)])
    chosen = alone[count_before(rows.label[alone]) < budget[rows.label[alone]]]
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
        taken = known[count_before(rows.label[known]) < budget[rows.label[known]]]
        if len(taken):
            sides[component] = rest
            sides[taken] = Side.LABELLED
            budget -= np.bincount(rows.label[taken], minlength=len(budget))


def _check_classes(rows: LinkedRows, sides: np.ndarray, classes: tuple[str, ...], domains: tuple[str, ...]) -> None:
    seen = np.unique(rows.label[(rows.domain == 0) & (sides == Side.LABELLED)])
    for side in (Side.TEST, Side.VALIDATION):
        for number, name in enumerate(domains):
            evaluated = rows.label[(rows.domain == number) & (sides == side)]
            unseen = np.setdiff1d(evaluated[evaluated != NO_LABEL], seen)
            if len(unseen):
                count = int((evaluated == unseen[0]).sum())
                raise DataError(
                    f"{name}: class {classes[unseen[0]]!r} has {count} images in the {side} split but no labelled image"
                    f" in the training rows of the source, so it cannot be learned ({len(unseen)} such classes); add"
                    " labelled training images of it, or remove the class"
                )
