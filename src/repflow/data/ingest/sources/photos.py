"""Photos to cut background crops from: two bundled with scikit-learn, or the user's own."""

from collections.abc import Iterable
from typing import Annotated, Literal

import numpy as np
from PIL import Image
from pydantic import Field

from repflow.data.ingest.decode import Undecodable, decode_whole, without_decoder_warnings
from repflow.data.ingest.sources.archive_reader import ArchiveReader
from repflow.data.ingest.sources.contract import Request
from repflow.data.ingest.sources.files import File
from repflow.data.ingest.sources.folder import find_files
from repflow.data.ingest.sources.names import as_text
from repflow.errors import DataError
from repflow.schema import Count, parameters

LONGEST = 640
"""Larger photos are shrunk to this many pixels along their longer side, so that small crops still have structure."""


@parameters
class BundledPhotos:
    """The two photos bundled with scikit-learn: a temple in China and a dahlia, 640x427 pixels."""

    kind: Literal["bundled"]

    def photos(self, request: Request) -> list[np.ndarray]:
        """Every photo, uint8 [3, height, width]."""
        from sklearn.datasets import load_sample_images  # takes a second to import

        return [photo.transpose(2, 0, 1) for photo in load_sample_images().images]


@parameters
class PhotoFolder:
    """All photos below a folder.

    Attributes:
        path: the folder, relative to `data.root`.
    """

    kind: Literal["folder"]
    path: str

    def photos(self, request: Request) -> list[np.ndarray]:
        """Every photo, uint8 [3, height, width], sorted by path."""
        place = request.root / self.path
        return _decoded(find_files(place, request.elsewhere)[0], str(place))


@parameters
class PhotoArchive:
    """All photos in a zip or tar file.

    Attributes:
        path: the archive, relative to `data.root`.
        max_files, max_bytes, max_ratio: limits, as for `Archive`.
    """

    kind: Literal["archive"]
    path: str
    max_files: Count = 2_000_000
    max_bytes: Count = 2**35
    max_ratio: Count = 100

    def photos(self, request: Request) -> list[np.ndarray]:
        """Every photo, uint8 [3, height, width], sorted by path."""
        place = request.root / self.path
        reader = ArchiveReader(place, self.max_files, self.max_bytes, self.max_ratio)
        photos = _decoded(reader, str(place))
        reader.finish()
        return photos


Photos = Annotated[BundledPhotos | PhotoFolder | PhotoArchive, Field(discriminator="kind")]
"""Any kind of photos, distinguished by `kind`."""


def _decoded(files: Iterable[File], where: str) -> list[np.ndarray]:
    found = []
    with without_decoder_warnings():
        for file in files:
            try:
                content = file.content()
                assert not isinstance(content, Image.Image)
                found.append((file.path, decode_whole(content, LONGEST)))
            except (Undecodable, OSError) as problem:
                raise DataError(
                    f"{where}: the photo {as_text(file.path)} cannot be decoded ({problem}); repair or remove it"
                ) from None
    return [photo for _, photo in sorted(found, key=lambda pair: as_text(pair[0]))]
