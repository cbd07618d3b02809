"""Digits on photos: the recipe of MNIST-M, for any foreground and any photos.

Ganin et al. Domain-Adversarial Training of Neural Networks. JMLR 2016, section 5.2.4.
"""

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from repflow.data.sources.archive import Archive
from repflow.data.sources.contract import Collected, Request
from repflow.data.sources.digits import Digits
from repflow.data.sources.folder import Folder
from repflow.data.sources.idx import Idx
from repflow.data.sources.photos import Photos
from repflow.data.sources.table import Table
from repflow.data.sources.torchvision import Torchvision
from repflow.errors import DataError
from repflow.randomness import numpy_generator
from repflow.schema import parameters

Foreground = Annotated[Digits | Idx | Folder | Archive | Table | Torchvision, Field(discriminator="kind")]
"""Any source but a blend itself."""


@parameters
class Blended:
    """Every image of the foreground as |crop - image|, channel by channel, on a random crop of a random photo.

    Crops have the foreground's own size (28x28 for MNIST), before anything is resized to the store's. Each depends on
    the seed and on the image's place only.
    """

    kind: Literal["blended"]
    foreground: Foreground
    photos: Photos

    def collect(self, request: Request) -> Collected:
        """The foreground's images blended, uint8 [N, 3, height, width], with its listing. See `Source`."""
        front = self.foreground.collect(request)
        height, width = front.images.shape[2:]
        photos = [
            photo for photo in self.photos.photos(request) if photo.shape[1] >= height and photo.shape[2] >= width
        ]
        if not photos:
            raise DataError(
                f"blended: no photo is as large as the foreground's {width}x{height} pixels; give larger ones"
            )
        crops = random_crops(photos, len(front.images), (height, width), request)
        return Collected(blend(crops, front.images), front.listing.assign(mode="RGB"))


def random_crops(photos: list[np.ndarray], count: int, shape: tuple[int, int], request: Request) -> np.ndarray:
    """Cut `count` crops: a photo is drawn, then a place in it, both uniformly.

    Args:
        photos: uint8 [3, h, w] each, none smaller than a crop.
        count: how many crops.
        shape: height and width of a crop.
        request: gives the seed and the stream of the draws.

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
    """|crop - image|, channel by channel.

    Args:
        crops: uint8 [N, 3, height, width].
        images: uint8 [N, 1 or 3, height, width].
    """
    brighter: np.ndarray = np.maximum(crops, images)
    brighter -= np.minimum(crops, images)  # what is taken away is never more, so that nothing wraps around
    return brighter
