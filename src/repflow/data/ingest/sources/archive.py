"""Image files in a zip or tar archive, with the same layout as the `folder` source."""

from typing import Literal

from repflow.data.ingest.sources.archive_reader import ArchiveReader
from repflow.data.ingest.sources.contract import Collected, Request
from repflow.data.ingest.sources.files import decode_files
from repflow.data.ingest.sources.layout import parse_layout
from repflow.schema import Count, parameters


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
        place = request.root / self.path
        reader = ArchiveReader(place, self.max_files, self.max_bytes, self.max_ratio)
        collected = decode_files(reader, request.form)
        reader.finish()
        layout = parse_layout(collected.listing["path"].tolist(), reader.folders, str(place))
        rows = collected.listing.assign(given_class=layout["given_class"], split=layout["split"])
        return Collected(collected.images, rows)
