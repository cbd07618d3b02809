"""The features of the last images seen, the newest first."""

import torch
from torch import Tensor, nn

from repflow.methods.parts.distributed import gathered


class FeatureQueue(nn.Module):
    """A memory of the last `length` features.

    It begins with random directions. Their number goes down with every `push`; `full` says whether all are gone.

    Args:
        length: how many features it holds.
        width: of a feature.
    """

    rows: Tensor
    seen: Tensor

    def __init__(self, length: int, width: int):
        super().__init__()
        self.register_buffer("rows", nn.functional.normalize(torch.randn(length, width)))  # [length, width]
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    @property
    def full(self) -> bool:
        """Whether every feature in it is one of an image."""
        return bool(self.seen >= len(self.rows))

    @torch.no_grad()
    def push(self, features: Tensor) -> None:
        """Put features [B, width] of every process in, in the order of the common batch; the oldest ones leave."""
        everyone = gathered(features.to(self.rows))
        common = everyone.view(-1, *features.shape).transpose(0, 1).flatten(0, 1)  # process r holds r, r + ranks, ...
        self.rows.copy_(torch.cat([common, self.rows])[: len(self.rows)])
        self.seen += len(common)
