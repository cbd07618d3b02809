"""Images whose classes and splits become known while they are read, one after the other, in the order of the source."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import pandas as pd
from PIL import Image

from repflow.data.ingest.resizing import ImageFormat
from repflow.data.ingest.sources.contract import Collected
from repflow.data.ingest.sources.files import File, decode_files

_FIELDS = ("path", "given_class", "split", "group")


@dataclass(frozen=True)
class Record:
    """One image, and what its source says of it.

    Attributes:
        path: its row in the manifest, as text.
        content: the bytes, as `File.content` returns them.
        size: the approximate number of bytes.
        given_class, split, group: as in the manifest; None where there is none.
    """

    path: str
    content: Callable[[], bytes | Image.Image]
    size: int
    given_class: str | None = None
    split: str | None = None
    group: str | None = None


def decode_records(records: Iterable[Record], form: ImageFormat) -> Collected:
    """Decode records on all cores; few of them are in memory at a time.

    Args:
        records: in the order of the manifest.
        form: the image format of the store.

    Returns:
        Images in the store's format and one row per record, in their order.
    """
    told: list[tuple[str | None, ...]] = []

    def files() -> Iterator[File]:
        for record in records:
            # Files are named by their number, so that sorting by path restores the order.
            yield File(f"{len(told):012}", record.content, record.size)
            told.append((record.path, record.given_class, record.split, record.group))

    collected = decode_files(files(), form)
    columns = pd.DataFrame(told, columns=list(_FIELDS), dtype=object)
    return Collected(collected.images, collected.listing.assign(**{name: columns[name] for name in _FIELDS}))
