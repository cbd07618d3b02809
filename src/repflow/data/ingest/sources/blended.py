"""Images blended with random photo crops: how MNIST-M was made, for any foreground and any photos.

Ganin et al. Domain-Adversarial Training of Neural Networks. JMLR 2016, section 5.2.4.
"""

from typing import Annotated, Literal

import numpy as np
import pandas as pd
from pydantic import Field

from repflow.data.ingest.sources.archive import Archive
from repflow.data.ingest.sources.cifar import Cifar
from repflow.data.ingest.sources.contract import Collected, Request
from repflow.data.ingest.sources.digits import Digits
from repflow.data.ingest.sources.domains import Domains
from repflow.data.ingest.sources.folder import Folder
from repflow.data.ingest.sources.huggingface import HuggingFace
from repflow.data.ingest.sources.idx import Idx
from repflow.data.ingest.sources.parquet import Parquet
from repflow.data.ingest.sources.photos import Photos
from repflow.data.ingest.sources.table import Table
from repflow.data.ingest.sources.torchvision import Torchvision
from repflow.data.ingest.sources.webdataset import WebDataset
from repflow.errors import DataError
from repflow.randomness.seeds import numpy_generator
from repflow.schema import Count, parameters

_AT_ONCE = 4096
"""Images that are blended together."""

Foreground = Annotated[
    Digits | Idx | Cifar | Folder | Archive | Table | HuggingFace | Parquet | WebDataset | Torchvision | Domains,
    Field(discriminator="kind"),
]
"""Any source except `blended` itself."""


@parameters
class Blended:
    """Every foreground image as |crop - image| per channel, with a random crop of a random photo.

    Crops have the size of the foreground images (28x28 for MNIST), before images are resized for the store. Each
    depends only on the seed and on the position of the image.

    Attributes:
        foreground: the source of the images.
        photos: the background photos.
        copies: number of blends of every image, each with its own crop. They form one group: a split keeps them
            together, and confidence intervals do not count them as independent.
    """

    kind: Literal["blended"]
    foreground: Foreground
    photos: Photos
    copies: Count = 1

    def collect(self, request: Request) -> Collected:
        """The foreground's images blended, uint8 [N, 3, height, width], with its listing. See `Source`."""
        front = self.foreground.collect(request)
        height, width = front.images.shape[2:]
        photos = [
            photo for photo in self.photos.photos(request) if photo.shape[1] >= height and photo.shape[2] >= width
        ]
        if not photos:
            raise DataError(
                f"blended: no photo is as large as the foreground images, {width}x{height} pixels; give larger photos"
            )
        rows = np.repeat(np.arange(len(front.images)), self.copies)
        blends = random_crops(photos, len(rows), (height, width), request)
        for first in range(0, len(rows), _AT_ONCE):  # in place, so that they are in memory only once
            part = slice(first, first + _AT_ONCE)
            blends[part] = blend(blends[part], front.images[rows[part]])
        return Collected(blends, repeat_listing(front.listing, self.copies).assign(mode="RGB"))


def repeat_listing(listing: pd.DataFrame, copies: int) -> pd.DataFrame:
    """The listing with every readable row repeated `copies` times; unreadable files are listed once.

    The paths of copies end in "#1", "#2" and so on. They keep the image's group, or form one named after its path.
    """
    if copies == 1:
        return listing
    times = np.where(listing["index"] >= 0, copies, 1)
    rows = listing.loc[listing.index.repeat(times)]
    number = rows.groupby(level=0).cumcount()
    readable = rows["index"] >= 0
    return rows.assign(
        path=rows["path"].where(~readable, rows["path"] + "#" + (number + 1).astype(str)),
        group=rows["group"].fillna(rows["path"]),
        index=rows["index"].where(~readable, rows["index"] * copies + number),
    ).reset_index(drop=True)


def random_crops(photos: list[np.ndarray], count: int, shape: tuple[int, int], request: Request) -> np.ndarray:
    """Cut `count` random crops: a photo, then a position in it, both uniformly distributed.

    Args:
        photos: uint8 [3, h, w] each, none smaller than a crop.
        count: the number of crops.
        shape: height and width of a crop.
        request: gives the random seed and stream.

    Returns:
        uint8 [count, 3, height, width].
    """
    drawn = numpy_generator(request.seed, f"{request.stream}/crops").random((count, 3))
    chosen = (drawn[:, 0] * len(photos)).astype(int)
    crops = np.empty((count, 3, *shape), np.uint8)
    for number, photo in enumerate(photos):
        wanted = np.flatnonzero(chosen == number)
        places = np.lib.stride_tricks.sliding_window_view(photo, shape, axis=(1, 2))
        rows = (drawn[wanted, 1] * places.shape[1]).astype(int)
        columns = (drawn[wanted, 2] * places.shape[2]).astype(int)
        crops[wanted] = places[:, rows, columns].transpose(1, 0, 2, 3)
    return crops


def blend(crops: np.ndarray, images: np.ndarray) -> np.ndarray:
    """|crop - image| per channel.

    Args:
        crops: uint8 [N, 3, height, width].
        images: uint8 [N, 1 or 3, height, width].
    """
    brighter: np.ndarray = np.maximum(crops, images)
    brighter -= np.minimum(crops, images)  # never larger, so that uint8 does not wrap around
    return brighter
