"""Batches as a function of the step: uint8 images that sit still, gathered whole."""

from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from repflow.data.read.memory_mapped import Selection
from repflow.data.read.rows import Rows
from repflow.errors import DataError
from repflow.randomness.draws import Draw

# Not frozen, these two: Lightning Fabric rebuilds what passes through it field by field.


@dataclass
class Batch:
    """Some images of one stream.

    Attributes:
        images: float32 [B, channels, size, size] in [0, 1].
        labels: int64 [B], -1 where a label is missing or hidden.
        rows: int64 [B], positions in the stream, for methods that remember each image.
    """

    images: Tensor
    labels: Tensor
    rows: Tensor


@dataclass
class Batches:
    """One batch of every stream that a method asked for, and how far training has come.

    Attributes:
        streams: stream name to batch.
        progress: the share of training that lies behind, in [0, 1).
    """

    streams: Mapping[str, Batch]
    progress: float

    def __getitem__(self, stream: str) -> Batch:
        return self.streams[stream]


class Stream:
    """Rows held once as uint8 on the device where the model runs, or read from their file one step ahead.

    Of `ranks` processes that share a batch, the one of number `rank` takes every `ranks`-th row of it.

    Args:
        name: the stream's name; its shuffle depends on it.
        rows: what the stream gives.
        device: where the images are held.
        rank: number of this process.
        ranks: how many processes share a batch.

    Raises:
        DataError: there are no rows.
    """

    def __init__(self, name: str, rows: Rows, device: torch.device | str = "cpu", *, rank: int = 0, ranks: int = 1):
        if not len(rows):
            raise DataError(f"the stream {name!r} has no images; look at `dvc metrics show` for the sizes of the split")
        self.name = name
        self.images = rows.images if isinstance(rows.images, Selection) else torch.from_numpy(rows.images).to(device)
        self.labels = torch.from_numpy(rows.labels).to(device)
        self.classes = rows.classes
        self._rank, self._ranks = rank, ranks
        self._order = lru_cache(maxsize=2)(self._shuffled)
        self._reader = ThreadPoolExecutor(1) if isinstance(rows.images, Selection) else None
        self._ahead: tuple[tuple[int, int, int], Future[Batch]] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def at(self, step: int, size: int, seed: int) -> Batch:
        """The batch of `step`: the rows are shuffled anew in every epoch, and each comes once per epoch.

        Where `size` exceeds what is left of an epoch, the batch goes on with the next one's.

        Args:
            step: of training.
            size: rows that all processes take together.
            seed: of the shuffle.
        """
        if self._reader is None:
            return self._gather(step, size, seed)
        wanted, ahead = (step, size, seed), self._ahead
        batch = ahead[1].result() if ahead is not None and ahead[0] == wanted else self._gather(*wanted)
        coming = (step + 1, size, seed)
        self._ahead = coming, self._reader.submit(self._gather, *coming)
        return batch

    def take(self, rows: Tensor) -> Batch:
        """The batch of the given rows, int64 [B]."""
        device = self.labels.device
        if isinstance(self.images, Selection):
            return Batch(as_float(torch.from_numpy(self.images[rows.numpy()]).to(device)), self.labels[rows], rows)
        rows = rows.to(device)
        return Batch(as_float(self.images[rows]), self.labels[rows], rows)

    def in_order(self, size: int = 512) -> Iterator[Batch]:
        """All rows once, in their order."""
        for rows in torch.arange(len(self)).split(size):
            yield self.take(rows)

    def _gather(self, step: int, size: int, seed: int) -> Batch:
        first, last = step * size, (step + 1) * size
        parts = []
        while first < last:
            epoch, start = divmod(first, len(self))
            stop = min(len(self), start + last - first)
            parts.append(self._order(epoch, seed)[start:stop])
            first += stop - start
        return self.take(torch.cat(parts)[self._rank :: self._ranks])

    def _shuffled(self, epoch: int, seed: int) -> Tensor:
        return Draw(seed, f"shuffle/{self.name}", epoch).order(len(self))


def as_float(images: Tensor) -> Tensor:
    """uint8 images as float32 in [0, 1]."""
    return images.to(torch.float32).div_(255)
