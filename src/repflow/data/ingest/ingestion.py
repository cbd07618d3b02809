"""Ingestion: from a source of images to a store with a manifest of image statistics."""

import dataclasses
import logging
import time
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
from pydantic import Field

from repflow.data.ingest.added_labels import add_labels
from repflow.data.ingest.decoders import OpenDecoders, local_decoders
from repflow.data.ingest.facts import image_facts
from repflow.data.ingest.image_size import ANY, LEAST, STEP, find_size
from repflow.data.ingest.resizing import ImageFormat, Resize
from repflow.data.ingest.shards import files_per_shard, with_facts
from repflow.data.ingest.sources import SourceConfig
from repflow.data.ingest.sources.contract import Elsewhere, Request, in_order, nowhere
from repflow.data.ingest.sources.files import FileStream, Streaming
from repflow.data.ingest.streaming import folder_beside, store_array, store_shards
from repflow.data.ingest.summary import doubts, found
from repflow.data.store import NO_LABEL, write_store
from repflow.data.watched import UNWATCHED, labels_file
from repflow.errors import DataError
from repflow.schema import parameters

log = logging.getLogger("repflow")


@parameters
class Watched:
    """Files or folders of one domain that DVC watches; see `repflow.data.watched`."""

    images: str
    table: str
    photos: str
    labels: str = UNWATCHED
    size: str = UNWATCHED


@parameters
class Reads:
    """What DVC watches for changed images in each domain: dvc.yaml makes them dependencies of `ingest`."""

    source: Watched
    target: Watched


@parameters
class DataConfig:
    """Where the images of both domains come from, and the image format that they are stored in.

    Attributes:
        size: width and height of every stored image, in pixels; None to let them follow from the images of the source.
        channels: 3 (red, green, blue) or 1 (grey).
        resize: how an image becomes square: "crop" takes the centre, "pad" adds black borders, "stretch" changes the
            aspect ratio.
        reads: files or folders that DVC watches for changes.
        root: the folder that relative paths of the sources start from; relative to the project, or absolute.
        most: largest size that follows from images, in pixels.
        source: the domain with labels.
        target: the domain to adapt to; `{kind: none}` for none.
    """

    size: Annotated[int, Field(ge=8, le=512)] | None
    channels: Literal[1, 3]
    resize: Resize
    source: SourceConfig
    target: SourceConfig
    root: str = "."
    most: Annotated[int, Field(ge=LEAST, le=512, multiple_of=STEP)] = 64
    reads: Reads | None = None

    @property
    def form(self) -> ImageFormat:
        """The image format, where the size is known."""
        if self.size is None:
            raise ValueError("the size is not known yet; see `with_size`")
        return ImageFormat(self.size, self.channels, self.resize)


def ingest(
    config: DataConfig,
    domain: str,
    seed: int,
    root: Path,
    folder: Path,
    elsewhere: Elsewhere = nowhere,
    open_decoders: OpenDecoders = local_decoders,
    shard: int | None = None,
) -> None:
    """Read one domain and write its store, whose bytes depend neither on `open_decoders` nor on `shard`.

    Args:
        config: what to read.
        domain: "source" or "target".
        seed: the random seed for sources that draw random numbers.
        root: the folder that relative paths of the source start from.
        folder: where the store is written.
        elsewhere: where links may lead to that lead out of the source's folder.
        open_decoders: what decodes the files of sources that have files.
        shard: how many files are decoded and stored together; by default as many as fit `repflow.data.ingest.shards`.

    Raises:
        DataError: the source, or every image of it, cannot be read.
        RepflowError: another process is making the store, or what decodes has died.
        StorageError: the store cannot be written.
    """
    started = time.perf_counter()
    config = with_size(config, domain, seed, root, elsewhere)
    source, title = getattr(config, domain), f"ingest@{domain}"
    request = Request(config.form, root, seed, f"ingest/{domain}", elsewhere)
    read = source.stream(request) if isinstance(source, Streaming) else source.collect(request)
    with folder_beside(folder) as place:
        if isinstance(read, FileStream):
            most = shard or files_per_shard(config.form)
            stored = store_shards(read, config.form, place, title, most, open_decoders)
            images, rows = stored.images, stored.rows
        else:
            images, facts = store_array(read.images, config.form, place)
            rows = with_facts(read.listing, facts)
        manifest, classes = with_labels(add_labels(rows, added_labels(config, domain, root)))
        _check_readable(manifest, domain)
        count = int((manifest["index"] >= 0).sum())
        origin = {"seed": seed, "source": without_directories(dataclasses.asdict(source))}
        write_store(folder, images, manifest, classes, origin)
    _report(domain, manifest, classes, count, time.perf_counter() - started)


def with_size(config: DataConfig, domain: str, seed: int, root: Path, elsewhere: Elsewhere = nowhere) -> DataConfig:
    """The parameters with a size, for both domains that of the source's images. See `ingest` for the arguments."""
    if config.size is not None:
        return config
    request = Request(ANY, root, seed, "ingest/source", elsewhere)
    found = find_size(config.source, request, config.most)
    if found.count:
        log.info(
            "ingest@%s: images of %d pixels, as the median of the shorter sides of %s images of the source is %g;"
            " `data.size` chooses another size, at most `data.most` is found",
            domain,
            found.size,
            f"{found.count:,}",
            found.middle,
        )
    return dataclasses.replace(config, size=found.size)


def added_labels(config: DataConfig, domain: str, root: Path) -> Path | None:
    """Where the labels that were added to a domain are looked for. A file beside both domains is the source's."""
    source, target = (labels_file(dataclasses.asdict(each), str(root)) for each in (config.source, config.target))
    place = source if domain == "source" else target if target != source else None
    return None if place is None else Path(place)


def describe(listing: pd.DataFrame, images: np.ndarray) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The manifest of a listing and its images, and the classes in order."""
    return with_labels(with_facts(listing, image_facts(images)))


def with_labels(rows: pd.DataFrame) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Rows with the positions of their classes, and the classes in order."""
    classes = tuple(in_order(rows["given_class"].dropna()))
    position = {name: number for number, name in enumerate(classes)}
    return rows.assign(label=rows["given_class"].map(position).fillna(NO_LABEL).astype("int64")), classes


def without_directories(values: Any) -> Any:
    """Plain values with every path cut to its last part, so that a store does not depend on where it was made."""
    if isinstance(values, Mapping):
        return {key: without_directories(value) for key, value in values.items()}
    if isinstance(values, list | tuple):
        return [without_directories(value) for value in values]
    return PurePath(values).name if isinstance(values, str) and "/" in values else values


def _check_readable(manifest: pd.DataFrame, domain: str) -> None:
    if domain == "source" and manifest.empty:
        raise DataError("data.source: has no images; the source needs images, only the target may be `kind: none`")
    bad = manifest[manifest["index"] < 0]
    if len(manifest) and len(bad) == len(manifest):
        first = bad.iloc[0]
        message = (
            f"data.{domain}: none of {len(bad):,} files can be decoded; the first is {first['path']}: {first['reason']}"
        )
        raise DataError(message)


def _report(domain: str, manifest: pd.DataFrame, classes: tuple[str, ...], count: int, seconds: float) -> None:
    bad = manifest[manifest["index"] < 0]
    rate = count / max(seconds, 1e-9)
    log.info(
        "ingest@%s: %s images in %.1f s (%s images/s), %d unreadable",
        domain,
        f"{count:,}",
        seconds,
        f"{rate:,.0f}",
        len(bad),
    )
    log.info("ingest@%s: found %s", domain, found(manifest))
    for doubt in doubts(classes):
        log.warning("ingest@%s: %s", domain, doubt)
    for row in bad.head(5).itertuples():
        log.warning("ingest@%s: %s: %s", domain, row.path, row.reason)
