"""The rows of both domains concatenated, with the components that link them and their random order."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from repflow.data.duplicates import components, equal_pairs, near_pairs
from repflow.data.store import NO_LABEL
from repflow.randomness.seeds import derive_seed

TRAIN, VALIDATION, TEST, EXCLUDED, UNASSIGNED = range(5)
"""Assignments of a row, before training is divided into labelled and unlabelled. UNASSIGNED is not decided yet."""

GIVEN = {"train": TRAIN, "validation": VALIDATION, "test": TEST}
"""Assignments that the manifest's column `split` gives."""


@dataclass(frozen=True)
class LinkedRows:
    """The rows of all domains concatenated, one array [N] per attribute.

    Attributes:
        domain: 0 for the source, 1 for the target.
        label: position in the source's classes, -1 where there is none.
        given: TRAIN, VALIDATION or TEST as the manifest says; where it says nothing, UNASSIGNED in a domain without any
            given split and TRAIN in a domain with some.
        order: a random sort key that depends on the seed, the domain and the path alone.
        component: rows with the same number are linked (copies, near-duplicates or one group).
        classes: the number of classes.
    """

    domain: np.ndarray
    label: np.ndarray
    given: np.ndarray
    order: np.ndarray
    component: np.ndarray
    classes: int

    def __len__(self) -> int:
        return len(self.domain)

    @cached_property
    def stratum(self) -> np.ndarray:
        """Domain and class as one number, -1 where there is no label."""
        return np.where(self.label == NO_LABEL, -1, self.domain * self.classes + self.label)

    @cached_property
    def is_single(self) -> np.ndarray:
        """Whether a row is the only one of its component: bool [N]."""
        return np.asarray(np.bincount(self.component)[self.component] == 1)

    def count(self, chosen: np.ndarray) -> np.ndarray:
        """The number of labelled rows per stratum among `chosen`, bool [N]: int64 [2 * classes]."""
        return np.bincount(self.stratum[chosen & (self.stratum >= 0)], minlength=2 * self.classes)

    def shuffled(self, members: np.ndarray) -> np.ndarray:
        """The rows `members` in random order."""
        return np.asarray(members[np.argsort(self.order[members], kind="stable")])

    def by_component(self, members: np.ndarray) -> list[np.ndarray]:
        """The rows `members` grouped by component; components and the rows of each in random order."""
        if not len(members):
            return []
        members = self.shuffled(members)
        codes, _ = pd.factorize(self.component[members])  # numbered by first appearance
        return np.split(members[np.argsort(codes, kind="stable")], np.cumsum(np.bincount(codes))[:-1])


def link_manifests(
    manifests: Mapping[str, pd.DataFrame], classes: tuple[str, ...], distance: int | None, seed: int
) -> LinkedRows:
    """Concatenate the readable rows of all domains and link them.

    Args:
        manifests: "source" and "target", in this order, to the readable rows of their stores.
        classes: names of the source's classes; a row of another class has no label.
        distance: as `near_duplicate_distance` of `SplitConfig`.
        seed: the random seed of the run.
    """
    position = {name: number for number, name in enumerate(classes)}
    domain, label, given, order = [], [], [], []
    for number, (name, manifest) in enumerate(manifests.items()):
        split = manifest["split"].map(GIVEN)
        domain.append(np.full(len(manifest), number))
        label.append(manifest["given_class"].map(position).fillna(NO_LABEL).to_numpy(np.int64))
        given.append(split.fillna(TRAIN if split.notna().any() else UNASSIGNED).to_numpy(np.int64))
        order.append(np.array([derive_seed(seed, f"split/{name}/{path}") for path in manifest["path"]], np.int64))
    component = link(pd.concat(list(manifests.values())), distance)
    parts = [np.concatenate(part) for part in (domain, label, given, order)]
    return LinkedRows(parts[0], parts[1], parts[2], parts[3], component, len(classes))


def link(manifest: pd.DataFrame, distance: int | None) -> np.ndarray:
    """The component of every row, as a number: int64 [N]. Copies, near-duplicates and rows of one group are linked.

    Args:
        manifest: columns `sha256`, `phash`, `dhash` and `group` of one manifest or of several concatenated ones. The
            name of a group means the same in both domains.
        distance: as `SplitConfig.near_duplicate_distance`.
    """
    pairs = [equal_pairs(pd.factorize(manifest[column])[0]) for column in ("sha256", "group")]
    if distance is not None:
        hashes = [manifest[column].to_numpy(np.uint64) for column in ("phash", "dhash")]
        pairs.append(near_pairs(hashes[0], hashes[1], distance))
    return components(len(manifest), *pairs)


def count_before(values: np.ndarray) -> np.ndarray:
    """How many equal values precede each one: int64 [N]."""
    order = np.argsort(values, kind="stable")
    placed = values[order]
    ranks = np.empty(len(values), np.int64)
    ranks[order] = np.arange(len(values)) - np.searchsorted(placed, placed, side="left")
    return ranks
