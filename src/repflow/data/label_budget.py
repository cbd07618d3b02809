"""The label budget: which labels of the training images are used, to train with and, where it says so, to choose by."""

import numpy as np

from repflow.data.linked_rows import EXCLUDED, TRAIN, VALIDATION, LinkedRows, count_before
from repflow.data.read.rows import Side
from repflow.data.store import NO_LABEL
from repflow.errors import DataError


def check_divisible(labels_per_class: int) -> None:
    """Check that a budget suffices to train and to choose.

    Raises:
        DataError: it is a single label per class.
    """
    if labels_per_class < 2:
        raise DataError(
            "split.labels_per_class: 1 label per class cannot both train and choose; set it to 2 or more, give the"
            " images a split `val`, or have the labels of the validation split beside the budget with"
            " split.validation_within_budget=false"
        )


def validation_labels(available: np.ndarray, labels_per_class: int, share: float) -> np.ndarray:
    """How many of the budget's labels go to validation: at least one of two or more.

    Args:
        available: labelled rows of each class, int64 [strata].
        labels_per_class: the budget; of a class with fewer labels, all are the budget.
        share: of the budget that goes to validation; 0 for none at all.

    Returns:
        int64 [strata].
    """
    budget = np.minimum(available, labels_per_class)
    if share == 0:
        return np.zeros_like(budget)
    return np.asarray(np.minimum(np.maximum(1, np.rint(share * budget)).astype(np.int64), np.maximum(0, budget - 1)))


def take_validation(rows: LinkedRows, assigned: np.ndarray, wanted: np.ndarray, kept: np.ndarray) -> None:
    """Move rows from TRAIN to VALIDATION until the wanted number of labels of every stratum is there, and no more.

    Rows that are linked to no other come first. Of a component as many labels as are wanted follow; its other rows, in
    both domains, are excluded: in training they would leak, in validation they would be labels beyond the budget. A
    component is not taken where training would keep too few labels of a class.

    Args:
        rows: the rows of both domains.
        assigned: the assignments, which are changed.
        wanted: labels of each stratum in validation, int64 [strata]; -1 for strata whose domain is left as it is.
        kept: labels of each stratum that training has to keep, int64 [strata].
    """
    left = wanted.copy()
    closed = np.append(wanted < 0, False)  # rows without a label have the stratum -1
    followers = np.flatnonzero((assigned == VALIDATION) & (rows.stratum >= 0) & ~closed[rows.stratum])
    followers = rows.shuffled(followers)  # they are there because their component contains a given validation row
    beyond = count_before(rows.stratum[followers]) >= wanted[rows.stratum[followers]]
    assigned[followers[beyond]] = EXCLUDED
    np.subtract.at(left, rows.stratum[followers[~beyond]], 1)

    singles = rows.shuffled(np.flatnonzero((assigned == TRAIN) & rows.is_single & (rows.stratum >= 0)))
    chosen = singles[count_before(rows.stratum[singles]) < left[rows.stratum[singles]]]
    assigned[chosen] = VALIDATION
    np.subtract.at(left, rows.stratum[chosen], 1)

    training = rows.count(assigned == TRAIN)
    linked = np.flatnonzero((assigned == TRAIN) & ~rows.is_single)
    for component in sorted(rows.by_component(linked), key=len) if (left > 0).any() else ():
        known = component[rows.stratum[component] >= 0]
        strata = rows.stratum[known]
        taken = known[count_before(strata) < left[strata]]
        loses, gains = (np.bincount(rows.stratum[each], minlength=len(training)) for each in (known, taken))
        needed = kept + np.maximum(0, left - gains)  # what validation does not get trains
        if not len(taken) or (training - loses < needed)[loses > 0].any():
            continue
        assigned[component] = EXCLUDED
        assigned[taken] = VALIDATION
        left -= gains
        training -= loses


def labels_to_train_with(
    available: np.ndarray, held_out: np.ndarray, classes: tuple[str, ...], requested: int | None, strict: str | None
) -> np.ndarray:
    """How many labels of each class training may see: int64 [classes].

    Args:
        available: labelled training rows of each class, int64 [classes].
        held_out: labels of each class that the budget has given to validation, int64 [classes].
        classes: names of the classes.
        requested: the budget; None for all labels.
        strict: name of a domain that must have as many labels as requested.

    Raises:
        DataError: the strict domain has fewer.
    """
    if requested is None:
        return available
    there = available + held_out
    short = np.flatnonzero(there < requested)
    if strict and len(short):
        few = ", ".join(f"{classes[c]!r} has {there[c]}" for c in short[:5]) + (", ..." if len(short) > 5 else "")
        lower = f"lower it to {there.min()} or less" if there.min() else "add training images to each class"
        raise DataError(
            f"split.labels_per_class: {requested} labels per class requested, but in the training rows of the {strict}"
            f" {few}; {lower}, lower split.validation and split.test, or set it to null for all labels"
        )
    return np.asarray(np.minimum(available, np.maximum(0, requested - held_out)))


def choose_labelled(rows: LinkedRows, training: np.ndarray, budget: np.ndarray, rest: Side, sides: np.ndarray) -> None:
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
