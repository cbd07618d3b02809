"""Image files in a zip or tar archive, with the same layout as the `folder` source."""

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

import pandas as pd

from repflow.data.ingest.sources.archive_reader import ArchiveReader
from repflow.data.ingest.sources.contract import Collected, Request
from repflow.data.ingest.sources.files import File, FileStream, stamp_of
from repflow.data.ingest.sources.layout import parse_layout
from repflow.data.ingest.sources.names import as_text
from repflow.data.ingest.sources.recognition import is_metadata
from repflow.errors import DataError
from repflow.schema import Count, parameters

log = logging.getLogger("repflow")


@parameters
class Archive:
    """Image files in a zip, tar, tar.gz, tar.bz2 or tar.xz, in folders named after their classes; see `layout`.

    Attributes:
        path: the archive, relative to `data.root`.
        max_files: an archive with more entries is refused.
        max_bytes: an archive that expands to more bytes is refused.
        max_ratio: an archive that expands to more than this many times its size is refused.
    """

    kind: Literal["archive"]
    path: str
    max_files: Count = 2_000_000
    max_bytes: Count = 2**35
    max_ratio: Count = 100

    def collect(self, request: Request) -> Collected:
        """Every image file in the archive, sorted by path. See `Source`."""
        return self.stream(request).collected(request.form)

    def stream(self, request: Request) -> FileStream:
        """The same, to be decoded in shards; a tar is read from its start to its end. See `Streaming`."""
        place = request.root / self.path
        reader = ArchiveReader(place, self.max_files, self.max_bytes, self.max_ratio)

        def listed(rows: pd.DataFrame) -> pd.DataFrame:
            reader.finish()
            paths = rows["path"].tolist()
            _check_form(paths, reader.others, place)
            layout = parse_layout(paths, reader.folders, str(place))
            return rows.assign(given_class=layout["given_class"], split=layout["split"])

        zipped = reader.zipped_files()
        files: Iterable[File] = reader if zipped is None else zipped
        return FileStream(files, listed, stamp_of(place.stat()), movable=zipped is not None)


def _check_form(images: Sequence[str], others: Sequence[str], place: Path) -> None:
    """Refuse a shard of samples, whose labels would be lost, and name a list of images that is not used."""
    keys = {path.partition(".")[0] for path in images}
    if any(name.endswith(".cls") and as_text(name).removesuffix(".cls") in keys for name in others):
        raise DataError(
            f"{place}: looks like a shard of WebDataset, as it has files .cls of labels; choose data=webdataset, or"
            " `kind: webdataset`"
        )
    listing = next(filter(is_metadata, others), None)
    if listing:
        log.warning("%s: %s is not used; data=huggingface reads it in an unpacked archive", place, as_text(listing))
