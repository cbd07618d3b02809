"""Batches as a function of the training step: uint8 images stay in place, and a whole batch is gathered at once."""

from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from repflow.data.read.memory_mapped import Images, LazyImages
from repflow.data.read.rows import Rows
from repflow.errors import DataError
from repflow.randomness.draws import Draw

# These two are not frozen: Lightning Fabric rebuilds dataclasses field by field when it moves them to a device.


@dataclass
class Batch:
    """Some images of one stream.

    Attributes:
        images: float32 [B, channels, size, size] in [0, 1].
        labels: int64 [B], -1 where a label is missing or hidden.
        rows: int64 [B], row indices in the stream, for methods with a memory bank.
    """

    images: Tensor
    labels: Tensor
    rows: Tensor


@dataclass
class Batches:
    """One batch of every stream that a method uses, and the training progress.

    Attributes:
        streams: stream name to batch.
        progress: the completed share of the training steps, in [0, 1).
    """

    streams: Mapping[str, Batch]
    progress: float

    def __getitem__(self, stream: str) -> Batch:
        return self.streams[stream]


class Stream:
    """Rows kept as uint8 on the model's device, or prefetched from a memory-mapped file one step ahead.

    With `ranks` processes that share a batch, the process `rank` takes every `ranks`-th row of it.

    Args:
        name: the stream's name; its shuffling depends on it.
        rows: the rows of the stream.
        device: where the images are kept.
        rank: the rank of this process.
        ranks: the number of processes that share a batch.

    Raises:
        DataError: there are no rows.
    """

    def __init__(self, name: str, rows: Rows, device: torch.device | str = "cpu", *, rank: int = 0, ranks: int = 1):
        if not len(rows):
            raise DataError(f"the stream {name!r} has no images; `dvc metrics show` prints the sizes of the split")
        self.name = name
        self.images = rows.images if isinstance(rows.images, LazyImages) else torch.from_numpy(rows.images).to(device)
        self.labels = torch.from_numpy(rows.labels).to(device)
        self.classes = rows.classes
        self._rank, self._ranks = rank, ranks
        self._order = lru_cache(maxsize=2)(self._shuffled)
        self._reader = ThreadPoolExecutor(1) if isinstance(rows.images, LazyImages) else None
        self._ahead: tuple[tuple[int, int, int], Future[Batch]] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def at(self, step: int, size: int, seed: int) -> Batch:
        """The batch of `step`: rows are reshuffled every epoch, and each comes once per epoch.

        If `size` exceeds what is left of an epoch, the batch continues with the next epoch.

        Args:
            step: the training step, from 0.
            size: the batch size over all processes.
            seed: the random seed of the shuffling.
        """
        if self._reader is None:
            return self._gather(step, size, seed)
        wanted, ahead = (step, size, seed), self._ahead
        batch = ahead[1].result() if ahead is not None and ahead[0] == wanted else self._gather(*wanted)
        coming = (step + 1, size, seed)
        self._ahead = coming, self._reader.submit(self._gather, *coming)
        return batch

    def take(self, rows: Tensor) -> Batch:
        """The batch of the given rows, int64 [B] on any device; on a GPU, nothing waits for a copy to it."""
        device = self.labels.device
        on_device = rows.to(device, non_blocking=True)
        if isinstance(self.images, LazyImages):
            read = torch.from_numpy(self.images[rows.cpu().numpy()])
            images = (read.pin_memory() if device.type == "cuda" else read).to(device, non_blocking=True)
        else:
            images = self.images[on_device]
        return Batch(as_float(images), self.labels[on_device], on_device)

    def in_order(self, size: int = 512) -> Iterator[Batch]:
        """All rows once, unshuffled, in batches of `size`, of fewer where images are large."""
        for rows in torch.arange(len(self)).split(inference_batch(self.images, size)):
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
        """The order of an epoch; beside images that are held on a GPU, so that a step copies no indices to it."""
        order = Draw(seed, f"shuffle/{self.name}", epoch).permutation(len(self))
        return order if isinstance(self.images, LazyImages) else order.to(self.labels.device, non_blocking=True)


def inference_batch(images: Images | Tensor, most: int = 512) -> int:
    """How many images [N, channels, size, size] a model takes at once: fewer of large ones, whose feature maps fill the
    memory."""
    return max(1, min(most, most * 64**2 // max(1, images.shape[2] * images.shape[3])))


def as_float(images: Tensor) -> Tensor:
    """uint8 images as float32 in [0, 1]."""
    return images.to(torch.float32).div_(255)
