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
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated

import numpy as np
import pandas as pd
from pydantic import Field

from repflow.data.duplicates import components, equal_pairs, near_pairs
from repflow.data.rows import Side
from repflow.data.store import NO_LABEL
from repflow.errors import DataError
from repflow.randomness import derive
from repflow.schema import Count, parameters

TRAIN, VALIDATION, TEST, EXCLUDED, OPEN = range(5)
"""Places, before training is parted into labelled and unlabelled. OPEN is not decided yet."""

GIVEN = {"train": TRAIN, "validation": VALIDATION, "test": TEST}
"""What the manifest's column `split` says."""

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
    near_duplicate_distance: Annotated[int, Field(ge=0, le=12)] | None
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
    rows = _gather(manifests, classes, config, seed)
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


def link(manifest: pd.DataFrame, distance: int | None) -> np.ndarray:
    """Number the components of rows that belong together: int64 [N].

    Args:
        manifest: columns `sha256`, `phash`, `dhash` and `group` of a manifest, or of several below one another. The
            name of a group means the same in both domains.
        distance: as `SplitConfig.near_duplicate_distance`.
    """
    pairs = [equal_pairs(pd.factorize(manifest[column])[0]) for column in ("sha256", "group")]
    if distance is not None:
        hashes = [manifest[column].to_numpy(np.uint64) for column in ("phash", "dhash")]
        pairs.append(near_pairs(hashes[0], hashes[1], distance))
    return components(len(manifest), *pairs)


@dataclass(frozen=True)
class _Rows:
    """The rows of all domains below one another, int64 [N] each; `order` is their place in every draw."""

    domain: np.ndarray
    label: np.ndarray
    given: np.ndarray
    order: np.ndarray
    component: np.ndarray
    classes: int

    @cached_property
    def stratum(self) -> np.ndarray:
        """Domain and class as one number, -1 where there is no label."""
        return np.where(self.label == NO_LABEL, -1, self.domain * self.classes + self.label)

    def count(self, rows: np.ndarray) -> np.ndarray:
        """Labelled rows of each stratum among those where `rows` is true."""
        return np.bincount(self.stratum[rows & (self.stratum >= 0)], minlength=2 * self.classes)


def _gather(manifests: Mapping[str, pd.DataFrame], classes: tuple[str, ...], config: SplitConfig, seed: int) -> _Rows:
    position = {name: number for number, name in enumerate(classes)}
    domain, label, given, order = [], [], [], []
    for number, (name, manifest) in enumerate(manifests.items()):
        split = manifest["split"].map(GIVEN)
        domain.append(np.full(len(manifest), number))
        label.append(manifest["given_class"].map(position).fillna(NO_LABEL).to_numpy(np.int64))
        given.append(split.fillna(TRAIN if split.notna().any() else OPEN).to_numpy(np.int64))
        order.append(np.array([derive(seed, f"split/{name}/{path}") for path in manifest["path"]], np.int64))
    component = link(pd.concat(list(manifests.values())), config.near_duplicate_distance)
    parts = [np.concatenate(part) for part in (domain, label, given, order)]
    return _Rows(parts[0], parts[1], parts[2], parts[3], component, len(classes))


def _keep_given(rows: _Rows) -> np.ndarray:
    """Places that follow from given splits: VALIDATION, TEST, EXCLUDED, and OPEN for all other rows."""
    named = np.where(np.isin(rows.given, (VALIDATION, TEST)), rows.given, TRAIN)
    strongest = np.zeros(len(named), np.int64)
    np.maximum.at(strongest, rows.component, named)
    winner = strongest[rows.component]
    stays = np.where((rows.given == winner) | (rows.given == OPEN), winner, EXCLUDED)
    return np.where(winner == TRAIN, OPEN, stays)


def _wants(rows: _Rows, place: np.ndarray, config: SplitConfig) -> np.ndarray:
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


def _has_given(rows: _Rows, side: int) -> np.ndarray:
    """Whether each domain came with this side: bool [2]."""
    return np.array([(rows.given[rows.domain == domain] == side).any() for domain in range(2)])


def _cut_components(rows: _Rows, place: np.ndarray, wants: np.ndarray) -> None:
    """Place the open components of several rows, large ones first, each where the most of its rows are wanted.

    Where all components are of one class, no place strays from its want by more than two components.
    """
    sizes = np.bincount(rows.component)
    members = np.flatnonzero((place == OPEN) & (sizes[rows.component] > 1))
    total = np.maximum(1, wants.sum(0))
    closed = np.array([[False, False], _has_given(rows, VALIDATION), _has_given(rows, TEST)])
    for component in _in_order(rows, members, by_size=True):
        strata = rows.stratum[component]
        strata = strata[strata >= 0]
        if not len(strata):
            continue
        score = (wants[:, strata] / total[strata]).sum(1)
        score[closed[:, np.unique(rows.domain[component])].any(1)] = -np.inf
        best = int(score.argmax())
        place[component] = best
        np.subtract.at(wants[best], strata, 1)


def _cut_singles(rows: _Rows, place: np.ndarray, wants: np.ndarray) -> None:
    """Fill what is still wanted from rows that stand alone; all others train."""
    alone = (place == OPEN) & (np.bincount(rows.component)[rows.component] == 1) & (rows.stratum >= 0)
    singles = np.flatnonzero(alone)
    singles = singles[np.argsort(rows.order[singles], kind="stable")]
    rank, stratum = _rank(rows.stratum[singles]), rows.stratum[singles]
    test = np.maximum(0, wants[TEST])[stratum]
    judging = test + np.maximum(0, wants[VALIDATION])[stratum]
    place[singles] = np.where(rank < test, TEST, np.where(rank < judging, VALIDATION, TRAIN))
    place[place == OPEN] = TRAIN


def _budget(labels: np.ndarray, classes: tuple[str, ...], wanted: int | None, strict: str | None) -> np.ndarray:
    """How many labels to show of each class: int64 [classes]. `strict` names a domain that must have them all."""
    available = np.bincount(labels[labels != NO_LABEL], minlength=len(classes))
    if wanted is None:
        return available
    short = np.flatnonzero(available < wanted)
    if strict and len(short):
        few = ", ".join(f"{classes[c]!r} has {available[c]}" for c in short[:5]) + (", ..." if len(short) > 5 else "")
        raise DataError(
            f"split.labels_per_class: {wanted} labels per class are wanted, but in the training rows of the {strict}"
            f" {few}; lower it to {available.min()} or less, lower split.validation and split.test, or set it to null"
            " for all labels"
        )
    return np.minimum(available, wanted)


def _label(rows: _Rows, training: np.ndarray, budget: np.ndarray, rest: Side, sides: np.ndarray) -> None:
    """Put rows of one domain's training on the labelled side until the budget of every class is met.

    Rows that stand alone go first: a label on a duplicate is a label wasted. Whole components follow as long as they
    fit, then parts of components, whose other rows go to the side `rest`.
    """
    budget = budget.copy()
    sizes = np.bincount(rows.component[training], minlength=len(rows.component))
    alone = training[(sizes[rows.component[training]] == 1) & (rows.label[training] != NO_LABEL)]
    alone = alone[np.argsort(rows.order[alone], kind="stable")]
    chosen = alone[_rank(rows.label[alone]) < budget[rows.label[alone]]]
    sides[chosen] = Side.LABELLED
    budget -= np.bincount(rows.label[chosen], minlength=len(budget))
    several = training[sizes[rows.component[training]] > 1]
    divided = []
    for component in _in_order(rows, several):
        label = rows.label[component]
        if (label == NO_LABEL).any() or (np.bincount(label, minlength=len(budget)) > budget).any():
            divided.append(component)
            continue
        sides[component] = Side.LABELLED
        budget -= np.bincount(label, minlength=len(budget))
    for component in sorted(divided, key=len):
        known = component[rows.label[component] != NO_LABEL]
        taken = known[_rank(rows.label[known]) < budget[rows.label[known]]]
        if len(taken):
            sides[component] = rest
            sides[taken] = Side.LABELLED
            budget -= np.bincount(rows.label[taken], minlength=len(budget))


def _check_classes(rows: _Rows, sides: np.ndarray, classes: tuple[str, ...], domains: tuple[str, ...]) -> None:
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


def _in_order(rows: _Rows, members: np.ndarray, by_size: bool = False) -> list[np.ndarray]:
    """The members of each component, in the order of the draw; components likewise, or the largest first."""
    if not len(members):
        return []
    members = members[np.argsort(rows.order[members], kind="stable")]
    codes, _ = pd.factorize(rows.component[members])  # numbered as they come, so in the order of the draw
    parts = np.split(members[np.argsort(codes, kind="stable")], np.cumsum(np.bincount(codes))[:-1])
    return sorted(parts, key=len, reverse=True) if by_size else parts


def _rank(values: np.ndarray) -> np.ndarray:
    """How many equal values stand before each one: int64 [N]."""
    return pd.Series(values).groupby(values).cumcount().to_numpy()
