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
3. Rows in training are labelled up to the label budget of their class, the others are unlabelled. Where validation is
   within the budget, step 2 draws test rows only, and validation rows are taken from the labels of the budget
   (`label_budget`).

The random order of rows depends on the seed, the domain and the path alone: it does not change with the order of the
manifest, nor with images that are added or removed elsewhere.
"""

from collections.abc import Mapping
from typing import Annotated

import numpy as np
import pandas as pd
from pydantic import Field

from repflow.data.label_budget import (
    check_divisible,
    choose_labelled,
    labels_to_train_with,
    take_validation,
    validation_labels,
)
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
        labels_per_class: labels that are used, per class and domain; None for all. The source must have that many; of
            the target, as many as there are are used (only the oracle `train_on_target` reads them).
        validation: share of each class for the validation split, where the data come without one; of the label budget
            if validation is within it.
        test: share of each class for the test set, where the data come without one. Both need labelled images of the
            source (`judgeable`).
        near_duplicate_distance: bits in which both hashes of near-duplicates may differ; None links exact copies only.
        divide_training_groups: allow a group to be partly labelled and partly unlabelled. Both are training, so nothing
            leaks. If false, the rows of a labelled group beyond the label budget are excluded.
        validation_within_budget: take the validation labels out of `labels_per_class`, as they would be in life; if
            false they are beside it. A given validation split stays as it is, and is beside it.
    """

    labels_per_class: Count | None
    validation: Share
    test: Share
    near_duplicate_distance: Annotated[int, Field(ge=0, le=8)] | None
    divide_training_groups: bool = False
    validation_within_budget: bool = True


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
        DataError: the source has no labels, a class has fewer labels in training than the budget, the budget is too
            small to train and to choose, or a class of the validation split or the test set has no label in the
            training rows of the source.
    """
    rows = link_manifests(manifests, classes, config.near_duplicate_distance, seed)
    if not (rows.label[rows.domain == 0] != NO_LABEL).any():
        raise DataError(
            "source: no image has a label, so no classifier can be trained or tested; give classes as folder names, as"
            " the column `label` of a table, or as an IDX file of labels"
        )
    assigned = _apply_given_splits(rows)
    drawn = ~np.array([_has_given(rows, VALIDATION), _has_given(rows, TEST)])
    from_budget = drawn[0] & _is_within_budget(config)
    drawn[0] &= ~from_budget
    quotas = _quotas(rows, assigned, config, drawn)
    _assign_components(rows, assigned, quotas, drawn)
    _assign_singles(rows, assigned, quotas)
    held_out = _validation_from_budget(rows, assigned, config, from_budget)
    sides = np.array([Side.UNLABELLED, Side.VALIDATION, Side.TEST, Side.EXCLUDED], dtype=object)[assigned]
    for number, name in enumerate(manifests):
        training = np.flatnonzero((rows.domain == number) & (assigned == TRAIN))
        available = rows.count(assigned == TRAIN).reshape(2, -1)[number]
        strict = name if number == 0 else None
        budget = labels_to_train_with(available, held_out[number], classes, config.labels_per_class, strict)
        choose_labelled(
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


def _is_within_budget(config: SplitConfig) -> bool:
    return config.validation_within_budget and config.labels_per_class is not None


def _quotas(rows: LinkedRows, assigned: np.ndarray, config: SplitConfig, drawn: np.ndarray) -> np.ndarray:
    """How many labelled rows of each stratum are still to be assigned to TRAIN, VALIDATION and TEST: int64 [3, strata].

    A class with three images or more gives at least one to every side that is drawn; `drawn`, bool [2, 2], says whether
    validation and test are, in each domain.
    """
    followers = (rows.given == UNASSIGNED) & (assigned != UNASSIGNED)
    pool = rows.count((assigned == UNASSIGNED) | followers)
    quotas = np.zeros((3, len(pool)), np.int64)
    for side, share, where in ((TEST, config.test, drawn[1]), (VALIDATION, config.validation, drawn[0])):
        if share > 0:
            fair = np.where(pool >= 3, np.maximum(1, np.rint(share * pool)), 0).astype(np.int64)
            cut = np.repeat(where, rows.classes)
            quotas[side] = cut * np.minimum(fair, np.maximum(0, pool - quotas.sum(0) - 1))
    quotas[TRAIN] = pool - quotas.sum(0)
    for side in (TEST, VALIDATION):
        quotas[side] -= rows.count(followers & (assigned == side))
    return quotas


def _has_given(rows: LinkedRows, side: int) -> np.ndarray:
    """Whether the data of each domain came with this split: bool [2]."""
    return np.array([(rows.given[rows.domain == domain] == side).any() for domain in range(2)])


def _assign_components(rows: LinkedRows, assigned: np.ndarray, quotas: np.ndarray, drawn: np.ndarray) -> None:
    """Assign components of several rows, the largest first, each to where its classes are furthest below their quota.

    If every component has a single class, no side deviates from its quota by more than two components.
    """
    several = rows.by_component(np.flatnonzero((assigned == UNASSIGNED) & ~rows.is_single))
    total = np.maximum(1, quotas.sum(0))
    closed = np.vstack([[False, False], ~drawn])
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


def _validation_from_budget(
    rows: LinkedRows, assigned: np.ndarray, config: SplitConfig, domains: np.ndarray
) -> np.ndarray:
    """Take validation rows out of the labels of the budget: the labels taken of each domain and class, int64 [2, K].

    Args:
        rows: the rows of both domains.
        assigned: the assignments, which are changed.
        config: the budget and the share of it.
        domains: whether each domain takes them there, bool [2].
    """
    if not domains.any():
        return np.zeros((2, rows.classes), np.int64)
    assert config.labels_per_class is not None
    if domains[0] and config.validation > 0:
        check_divisible(config.labels_per_class)
    strata = np.repeat(domains, rows.classes)
    available = rows.count((assigned == TRAIN) | (assigned == VALIDATION))
    wanted = validation_labels(available, config.labels_per_class, config.validation)
    wanted = np.where(strata, wanted, -1)
    training = np.where(strata, available, rows.count(assigned == TRAIN))
    kept = np.minimum(training, config.labels_per_class) - np.maximum(0, wanted)
    take_validation(rows, assigned, wanted, kept)
    return np.asarray(strata * rows.count(assigned == VALIDATION)).reshape(2, -1)


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
