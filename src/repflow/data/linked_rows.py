"""The rows of both domains below one another, with what links them and their place in every draw."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from repflow.data.duplicates import components, equal_pairs, near_pairs
from repflow.data.store import NO_LABEL
from repflow.randomness.seeds import derive

TRAIN, VALIDATION, TEST, EXCLUDED, OPEN = range(5)
"""Places, before training is parted into labelled and unlabelled. OPEN is not decided yet."""

GIVEN = {"train": TRAIN, "validation": VALIDATION, "test": TEST}
"""What the manifest's column `split` says."""


@dataclass(frozen=True)
class LinkedRows:
    """The rows of all domains below one another, one array [N] for each fact.

    Attributes:
        domain: 0 for the source, 1 for the target.
        label: position in the source's classes, -1 where there is none.
        given: TRAIN, VALIDATION or TEST as the manifest says; where it is silent, OPEN in a domain without any given
            split and TRAIN in a domain with some.
        order: the place in every draw, a number that depends on the seed, the domain and the path alone.
        component: rows with the same number belong together.
        classes: how many classes there are.
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
    def alone(self) -> np.ndarray:
        """Whether a row is a component of its own: bool [N]."""
        return np.asarray(np.bincount(self.component)[self.component] == 1)

    def count(self, chosen: np.ndarray) -> np.ndarray:
        """Labelled rows of each stratum among the chosen, bool [N]: int64 [2 * classes]."""
        return np.bincount(self.stratum[chosen & (self.stratum >= 0)], minlength=2 * self.classes)

    def drawn(self, members: np.ndarray) -> np.ndarray:
        """The rows `members`, in the order of the draw."""
        return np.asarray(members[np.argsort(self.order[members], kind="stable")])

    def by_component(self, members: np.ndarray) -> list[np.ndarray]:
        """The rows `members` parted by component; components and the rows of each in the order of the draw."""
        if not len(members):
            return []
        members = self.drawn(members)
        codes, _ = pd.factorize(self.component[members])  # numbered as they come
        return np.split(members[np.argsort(codes, kind="stable")], np.cumsum(np.bincount(codes))[:-1])


def gather(
    manifests: Mapping[str, pd.DataFrame], classes: tuple[str, ...], distance: int | None, seed: int
) -> LinkedRows:
    """Put the readable rows of all domains below one another and link them.

    Args:
        manifests: "source" and "target", in this order, to the readable rows of their stores.
        classes: names of the source's classes; a row of another class has no label.
        distance: as `near_duplicate_distance` of `SplitConfig`.
        seed: the seed of the run.
    """
    position = {name: number for number, name in enumerate(classes)}
    domain, label, given, order = [], [], [], []
    for number, (name, manifest) in enumerate(manifests.items()):
        split = manifest["split"].map(GIVEN)
        domain.append(np.full(len(manifest), number))
        label.append(manifest["given_class"].map(position).fillna(NO_LABEL).to_numpy(np.int64))
        given.append(split.fillna(TRAIN if split.notna().any() else OPEN).to_numpy(np.int64))
        order.append(np.array([derive(seed, f"split/{name}/{path}") for path in manifest["path"]], np.int64))
    component = link(pd.concat(list(manifests.values())), distance)
    parts = [np.concatenate(part) for part in (domain, label, given, order)]
    return LinkedRows(parts[0], parts[1], parts[2], parts[3], component, len(classes))


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


def rank(values: np.ndarray) -> np.ndarray:
    """How many equal values stand before each one: int64 [N]."""
    order = np.argsort(values, kind="stable")
    placed = values[order]
    ranks = np.empty(len(values), np.int64)
    ranks[order] = np.arange(len(values)) - np.searchsorted(placed, placed, side="left")
    return ranks
