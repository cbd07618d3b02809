"""Image files inside a zip or tar file, laid out as in a folder."""

from typing import Literal

from repflow.data.ingest.sources.contents import Contents
from repflow.data.ingest.sources.contract import Collected, Request
from repflow.data.ingest.sources.files import decode_files
from repflow.data.ingest.sources.layout import arrange
from repflow.schema import Count, parameters


@parameters
class Archive:
    """Image files in a zip, tar, tar.gz, tar.bz2 or tar.xz, in folders that are named for their classes; see `layout`.

    Attributes:
        path: the archive, relative to `data.root`.
        max_files: an archive with more entries is refused.
        max_bytes: one that expands to more bytes is refused,
        max_ratio: and so is one that expands to more than this many times its size.
    """

    kind: Literal["archive"]
    path: str
    max_files: Count = 2_000_000
    max_bytes: Count = 2**35
    max_ratio: Count = 100

    def collect(self, request: Request) -> Collected:
        """Every image file in the archive, sorted by path. See `Source`."""
        place = request.root / self.path
        contents = Contents(place, self.max_files, self.max_bytes, self.max_ratio)
        collected = decode_files(contents, request.form)
        contents.finish()
        layout = arrange(collected.listing["path"].tolist(), contents.folders, str(place), unwrap=True)
        rows = collected.listing.assign(given_class=layout["given_class"], split=layout["split"])
        return Collected(collected.images, rows)
