"""Access to the rows of a domain by side of the split, with labels hidden by default.

Labels are hidden unless they are requested explicitly: a stage that trains without target labels cannot read one by
mistake.
"""

import json
import math
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np
import pandas as pd

from repflow.data.read.memory_mapped import Images, LazyImages, concatenated, evenly_spaced, subset_of
from repflow.data.store import NO_LABEL, Store, open_store
from repflow.errors import DataError


class Side(StrEnum):
    """The sides of a split. Every readable image belongs to exactly one."""

    LABELLED = "labelled"
    UNLABELLED = "unlabelled"
    VALIDATION = "validation"
    TEST = "test"
    EXCLUDED = "excluded"
    """Never used: the image is a duplicate of, or grouped with, an image on another side of the split."""


TRAINING = (Side.LABELLED, Side.UNLABELLED)
"""The sides that training may see: `UNLABELLED` are the rows whose label is missing or beyond the label budget."""


@dataclass(frozen=True)
class Rows:
    """Some rows of one domain.

    Attributes:
        images: uint8 [N, channels, size, size], in memory or memory-mapped from the store.
        labels: int64 [N], -1 where a label is missing or hidden.
        index: int64 [N], the rows' positions in the store.
        classes: names of the classes.
    """

    images: Images
    labels: np.ndarray
    index: np.ndarray
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.index)


def pooled(*parts: Rows) -> Rows:
    """The rows of several domains concatenated. `index` is renumbered from 0, as store positions mean nothing here."""
    labels = np.concatenate([part.labels for part in parts])
    return Rows(concatenated([part.images for part in parts]), labels, np.arange(len(labels)), parts[0].classes)


def sampled(rows: Rows, most: int) -> Rows:
    """At most `most` of the rows, evenly spaced; all where there are no more."""
    if len(rows) <= most:
        return rows
    chosen = evenly_spaced(len(rows), most)
    return Rows(subset_of(rows.images, chosen), rows.labels[chosen], rows.index[chosen], rows.classes)


@dataclass(frozen=True)
class Domain:
    """A store and its split. `rows` and `labelled_rows` are the only ways from here to images and labels.

    Attributes:
        name: "source" or "target".
        store: the images.
        sides: the side of every image, a value of `Side` each.
        classes: names of the classes, the same for both domains; a label is an index into it.
        memory: rows of up to so many bytes are read into memory; larger ones are read from the file batch by batch.
    """

    name: str
    store: Store
    sides: np.ndarray
    classes: tuple[str, ...]
    memory: float = math.inf

    def rows(self, *sides: Side, labels: bool = False) -> Rows:
        """The rows on the given sides, in the order of the store.

        Args:
            sides: one or more sides.
            labels: include the labels; otherwise every label is -1. Rows without a label are -1 in both cases.
        """
        index = np.flatnonzero(np.isin(self.sides, [side.value for side in sides]))
        shown = self._labels()[index] if labels else np.full(len(index), NO_LABEL, np.int64)
        images = LazyImages([(self.store.images, index)])
        return Rows(images[:] if images.nbytes <= self.memory else images, shown, index, self.classes)

    def labelled_rows(self, *sides: Side) -> Rows:
        """The rows on the given sides that have a label, with their labels."""
        rows = self.rows(*sides, labels=True)
        known = rows.labels != NO_LABEL
        if known.all():
            return rows  # not copied
        images = rows.images.subset(known) if isinstance(rows.images, LazyImages) else rows.images[known]
        return Rows(images, rows.labels[known], rows.index[known], rows.classes)

    def labels_on(self, *sides: Side) -> int:
        """The number of rows on the given sides that have a label; reads no images."""
        on = np.isin(self.sides, [side.value for side in sides])
        return int((self._labels()[on] != NO_LABEL).sum())

    def groups(self, rows: Rows) -> np.ndarray:
        """The manifest group of each of `rows`, as consecutive numbers from 0: int64 [N]. Ungrouped rows differ."""
        listed = self.store.readable["group"].iloc[rows.index].reset_index(drop=True)
        alone = pd.Series([f"row {number}" for number in rows.index], dtype="string")
        codes = pd.factorize(("group " + listed).fillna(alone))[0]
        return codes.astype(np.int64)

    def _labels(self) -> np.ndarray:
        """Labels in the shared order of classes; -1 for a class that the source does not have."""
        position = {name: number for number, name in enumerate(self.classes)}
        given = self.store.readable["given_class"]
        return given.map(position).fillna(NO_LABEL).to_numpy().astype(np.int64)


def open_domain(name: str, stores: Path, splits: Path, memory: float = math.inf) -> Domain:
    """Open the store and the split of domain `name`.

    Args:
        name: "source" or "target".
        stores: the folder with one store per domain.
        splits: the folder with one `NAME.parquet` per domain, columns `index` (int64, row of the store, ascending and
            complete) and `side` (string, a value of `Side`), and `classes.json`, the list of the classes of the source.
        memory: see `Domain`.

    Raises:
        DataError: a file is missing, or split and store do not match.
    """
    store = open_store(stores / name)
    path = splits / f"{name}.parquet"
    try:
        split = pd.read_parquet(path)
        classes = tuple(json.loads((splits / "classes.json").read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not a readable split ({error}); run `dvc repro split`") from error
    if not np.array_equal(split["index"].to_numpy(), np.arange(len(store.images))):
        raise DataError(
            f"{path}: does not list the {len(store.images)} images of {stores / name}; run `dvc repro split`"
        )
    return Domain(name, store, split["side"].to_numpy().astype(str), classes, memory)
