"""The rows of a domain that a stage may read, and the labels that it may see.

Labels are hidden unless they are asked for by name: a stage that trains without target labels cannot read one by
mistake.
"""

import json
import math
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np
import pandas as pd

from repflow.data.read.memory_mapped import Images, Selection, joined
from repflow.data.store import NO_LABEL, Store, open_store
from repflow.errors import DataError


class Side(StrEnum):
    """The sides of a split. Every readable image stands on exactly one."""

    LABELLED = "labelled"
    UNLABELLED = "unlabelled"
    VALIDATION = "validation"
    TEST = "test"
    EXCLUDED = "excluded"
    """Read by nobody: it belongs together with images of another side, which has the better claim to them."""


TRAINING = (Side.LABELLED, Side.UNLABELLED)
"""The sides that training may see: `UNLABELLED` are the rows whose label is missing or beyond the budget."""


@dataclass(frozen=True)
class Rows:
    """Some rows of one domain.

    Attributes:
        images: uint8 [N, channels, size, size], in memory or still in the store's file.
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
    """Rows of several domains as one; `index` then tells nothing across domains and is counted anew."""
    labels = np.concatenate([part.labels for part in parts])
    return Rows(joined([part.images for part in parts]), labels, np.arange(len(labels)), parts[0].classes)


@dataclass(frozen=True)
class Domain:
    """A store and its split. `rows` and `labelled_rows` are the only ways from here to images and labels.

    Attributes:
        name: "source" or "target".
        store: the images.
        sides: the side of every image, a value of `Side` each.
        classes: names of the classes, the same for both domains; a label is a position in it.
        memory: bytes up to which rows are read into memory; what is larger is read from the file batch by batch.
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
            labels: show the labels; else every label reads -1. Rows without a label read -1 all the same.
        """
        index = np.flatnonzero(np.isin(self.sides, [side.value for side in sides]))
        shown = self._labels()[index] if labels else np.full(len(index), NO_LABEL, np.int64)
        images = Selection([(self.store.images, index)])
        return Rows(images[:] if images.nbytes <= self.memory else images, shown, index, self.classes)

    def labelled_rows(self, *sides: Side) -> Rows:
        """The rows on the given sides that have a label, with it."""
        rows = self.rows(*sides, labels=True)
        known = rows.labels != NO_LABEL
        images = rows.images.only(known) if isinstance(rows.images, Selection) else rows.images[known]
        return Rows(images, rows.labels[known], rows.index[known], rows.classes)

    def groups(self, rows: Rows) -> np.ndarray:
        """Which of `rows` belong to one group of the manifest: int64 [N], from 0 upwards without a gap."""
        listed = self.store.readable["group"].iloc[rows.index].reset_index(drop=True)
        alone = pd.Series([f"row {number}" for number in rows.index], dtype="string")
        codes = pd.factorize(("group " + listed).fillna(alone))[0]
        return codes.astype(np.int64)

    def _labels(self) -> np.ndarray:
        """Labels in the shared order of classes; a class that only this store knows has none."""
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
        DataError: a file is missing or does not fit the other.
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
