"""Images whose classes and splits become known while they are read, one after the other, in the order of the source."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from PIL import Image

from repflow.data.ingest.sources.files import File, FileStream, failing, place_stamp, version_of

_FIELDS = ("path", "given_class", "split", "group")


@dataclass(frozen=True)
class Record:
    """One image, and what its source says of it.

    Attributes:
        path: its row in the manifest, as text.
        content: the bytes, as `File.content` returns them.
        size: the approximate number of bytes.
        given_class, split, group: as in the manifest; None where there is none.
        stamp: as that of a `File`.
    """

    path: str
    content: Callable[[], bytes | Image.Image]
    size: int
    given_class: str | None = None
    split: str | None = None
    group: str | None = None
    stamp: str = ""


def record_stream(records: Iterable[Record], version: str | None = None) -> FileStream:
    """Records as files that are decoded in shards.

    Args:
        records: in the order of the manifest. Where it is not a list, the bytes of each are in memory; few of them are
            at a time.
        version: changes with everything that the records depend on. A list need not give it: its stamps do.
    """
    told: list[tuple[str | None, ...]] = []

    def file(record: Record) -> File:
        # Files are named by their number, so that sorting by path restores the order.
        name = f"{len(told):012}"
        told.append((record.path, record.given_class, record.split, record.group))
        return File(name, record.content, record.size, record.stamp)

    def listed(rows: pd.DataFrame) -> pd.DataFrame:
        columns = pd.DataFrame(told, columns=list(_FIELDS), dtype=object)
        return rows.assign(**{name: columns[name] for name in _FIELDS})

    if isinstance(records, list):
        files = list(map(file, records))
        return FileStream(files, listed, version_of(files), movable=True)
    return FileStream(map(file, records), listed, version, movable=False)


def version_of_places(places: Iterable[Path], settings: object) -> str:
    """What changes with the content of files on disk, and with the settings that they are read by."""
    files = [File(str(number), failing(""), 0, place_stamp(place)) for number, place in enumerate(places)]
    return f"{version_of(files)} {settings!r}"
