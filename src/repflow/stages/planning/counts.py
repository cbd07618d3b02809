"""How many images each side of the split has: by the split, the stores or, before they are there, the sources."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from repflow.data.ingest.added_labels import add_labels
from repflow.data.ingest.ingestion import DataConfig, added_labels, with_labels
from repflow.data.ingest.sources.contract import Request
from repflow.data.read.rows import TRAINING, Side, open_domain
from repflow.data.splits import SplitConfig, make_splits
from repflow.data.store import open_store
from repflow.data.watched import with_home
from repflow.errors import DataError
from repflow.schema import build
from repflow.stages import parameters, paths
from repflow.stages.linked_cache import linked_caches
from repflow.stages.planning.listing import Listed, list_source

DOMAINS = ("source", "target")


@dataclass(frozen=True)
class Counts:
    """The images of one domain.

    Attributes:
        images: of each side, its number of images.
        labels: of each side, its number of labels.
    """

    images: Mapping[Side, int]
    labels: Mapping[Side, int]

    def on(self, *sides: Side) -> int:
        """The number of images on the given sides."""
        return sum(self.images[side] for side in sides)

    def labels_on(self, *sides: Side) -> int:
        """The number of labels on the given sides."""
        return sum(self.labels[side] for side in sides)

    @property
    def training(self) -> int:
        """The number of training images."""
        return self.on(*TRAINING)


@dataclass(frozen=True)
class Data:
    """The images of both domains.

    Attributes:
        counts: "source" and "target" to their numbers of images.
        classes: names of the source's classes.
        channels: of every image.
        size: of every image, in pixels.
        listed: of domains without a store, their sources.
    """

    counts: Mapping[str, Counts]
    classes: tuple[str, ...]
    channels: int
    size: int
    listed: Mapping[str, Listed]


def read_data(is_outdated: Mapping[str, bool]) -> Data:
    """Count the images: by the split if it is up to date, else by splitting what the stores or the sources hold.

    Args:
        is_outdated: for "ingest@source", "ingest@target" and "split", whether DVC would run it; True where it has
            never run.

    Raises:
        ParameterError: a parameter is not allowed.
        DataError: the sources cannot be read, or cannot be split as asked for.
    """
    if not is_outdated["split"]:
        domains = {name: open_domain(name, paths.STORES, paths.SPLITS) for name in DOMAINS}
        counts = {
            name: Counts(
                {side: int((domain.sides == side).sum()) for side in Side},
                {side: domain.labels_on(side) for side in Side},
            )
            for name, domain in domains.items()
        }
        channels, size = domains["source"].store.images.shape[1:3]
        return Data(counts, domains["source"].classes, channels, size, {})
    config = build(DataConfig, with_home(parameters.read_raw("data")), f"{paths.PARAMETERS}: data")
    manifests: dict[str, pd.DataFrame] = {}
    classes: dict[str, tuple[str, ...]] = {}
    listed: dict[str, Listed] = {}
    for name in DOMAINS:
        if is_outdated[f"ingest@{name}"]:
            manifests[name], classes[name], listed[name] = _listed(config, name)
        else:
            store = open_store(paths.STORES / name)
            manifests[name], classes[name] = store.readable, store.classes
    split = parameters.read("split", SplitConfig)
    if listed:  # which images are alike is seen only once they are decoded
        split = dataclasses.replace(split, near_duplicate_distance=None)
    sides = make_splits(manifests, classes["source"], split, parameters.seed())
    counts = {name: _counted(manifests[name], sides[name], classes["source"]) for name in DOMAINS}
    return Data(counts, classes["source"], config.channels, config.size, listed)


def _listed(config: DataConfig, name: str) -> tuple[pd.DataFrame, tuple[str, ...], Listed]:
    """The rows of a manifest as far as they are known before decoding, the classes, and the source."""
    root = Path(config.root)
    request = Request(config.form, root, parameters.seed(), f"ingest/{name}", linked_caches)
    found = list_source(getattr(config, name), request, name)
    manifest, classes = with_labels(add_labels(found.rows, added_labels(config, name, root)))
    if name == "source" and manifest.empty:
        raise DataError("data.source: has no images; the source needs images, only the target may be `kind: none`")
    manifest = manifest[manifest["index"] >= 0]
    return manifest.assign(sha256=f"{name} " + manifest["index"].astype(str)), classes, found


def _counted(manifest: pd.DataFrame, sides: np.ndarray, classes: tuple[str, ...]) -> Counts:
    known = manifest["given_class"].isin(classes).to_numpy(bool)
    return Counts(
        {side: int((sides == side).sum()) for side in Side},
        {side: int((known & (sides == side)).sum()) for side in Side},
    )
