"""First-in, first-out queues of features, and of keys that know their images."""

import torch
from torch import Tensor, nn

from repflow.methods.parts.shuffled_groups import global_batch

_RANDOM, _SUPERSEDED = -1, -2
"""What stands for an image where a key is a random vector, and where its image has a newer key."""


class FeatureQueue(nn.Module):
    """A queue of the last `length` features, the newest first.

    It is initialised with random unit vectors; `full` tells whether all of them have been replaced.

    Args:
        length: capacity of the queue.
        width: dimension of a feature.
    """

    rows: Tensor
    seen: Tensor

    def __init__(self, length: int, width: int):
        super().__init__()
        self.register_buffer("rows", nn.functional.normalize(torch.randn(length, width)))  # [length, width]
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))
        self._count: int | None = 0  # `seen` as the host knows it without waiting for a GPU; None: to be asked once
        self.register_load_state_dict_post_hook(_ask_again)  # type: ignore[no-untyped-call]

    @property
    def full(self) -> bool:
        """Whether all entries are features of images."""
        return self._known() >= len(self.rows)

    def _known(self) -> int:
        self._count = int(self.seen) if self._count is None else self._count
        return self._count

    def bound(self, length: int) -> None:
        """Reduce the capacity to `length` at most, before the first step: the number of images, say."""
        self.rows = self.rows[:length].clone()

    @torch.no_grad()
    def push(self, features: Tensor) -> None:
        """Enqueue the features [B, width] of all processes, in the order of the global batch; drop the oldest."""
        newest = global_batch(features.to(self.rows))
        self.rows.copy_(torch.cat([newest, self.rows])[: len(self.rows)])
        self._count = self._known() + len(newest)
        self.seen.fill_(self._count)


class KeyQueue(FeatureQueue):
    """A queue of keys, each with the image that it is of, so that no image is contrasted with itself.

    Only the newest key of an image is a negative of others. Random vectors are negatives of all images.

    Args:
        length: capacity of the queue.
        width: dimension of a key.
    """

    images: Tensor

    def __init__(self, length: int, width: int):
        super().__init__(length, width)
        self.register_buffer("images", torch.full((length,), _RANDOM))  # int64 [length]

    def bound(self, length: int) -> None:
        """Reduce the capacity to `length` at most."""
        super().bound(length)
        self.images = self.images[:length].clone()

    @torch.no_grad()
    def enqueue(self, keys: Tensor, images: Tensor) -> None:
        """Enqueue keys [B, width] of all processes with the indices of their images, int64 [B] from 0."""
        newest = global_batch(images.to(self.images))
        superseded = (self.images[:, None] == newest).any(dim=1)
        older = self.images.masked_fill(superseded, _SUPERSEDED)
        self.images.copy_(torch.cat([newest, older])[: len(self.images)])
        self.push(keys)

    def negatives(self, images: Tensor) -> Tensor:
        """Which keys are negatives of the images with these indices, int64 [B]: bool [B, length]."""
        return (self.images != _SUPERSEDED) & (self.images != images.to(self.images)[:, None])


def _ask_again(queue: FeatureQueue, incompatible_keys: object) -> None:
    queue._count = None
