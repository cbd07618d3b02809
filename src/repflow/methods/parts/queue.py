"""A first-in, first-out queue of features."""

import torch
from torch import Tensor, nn

from repflow.methods.parts.distributed import gathered


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

    @torch.no_grad()
    def push(self, features: Tensor) -> None:
        """Enqueue the features [B, width] of all processes, in the order of the global batch; drop the oldest."""
        everyone = gathered(features.to(self.rows))
        common = everyone.view(-1, *features.shape).transpose(0, 1).flatten(0, 1)  # process r holds r, r + ranks, ...
        self.rows.copy_(torch.cat([common, self.rows])[: len(self.rows)])
        self._count = self._known() + len(common)
        self.seen.fill_(self._count)


def _ask_again(queue: FeatureQueue, incompatible_keys: object) -> None:
    queue._count = None
