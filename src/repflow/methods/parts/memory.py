"""A memory of every image: one remembered feature a row, moved on whenever its image is seen.

Wu, Xiong, Yu, Lin. Unsupervised Feature Learning via Non-Parametric Instance Discrimination. CVPR 2018.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from repflow.data.read.batches import Stream
from repflow.encoders import Encoder
from repflow.methods.parts.distributed import gathered
from repflow.methods.parts.passes import encode_all


class Memory(nn.Module):
    """Features of length 1, one for each of `count` images.

    Args:
        count: images.
        width: of a feature.
        momentum: share of an image's memory that stays when the image is seen again.
    """

    bank: Tensor

    def __init__(self, count: int, width: int, momentum: float):
        super().__init__()
        self.momentum = momentum
        self.register_buffer("bank", torch.zeros(count, width))
        self._seen: tuple[Tensor, Tensor] | None = None

    def fill(self, stream: Stream, encoder: Encoder, head: Callable[[Tensor], Tensor]) -> None:
        """Remember every image of `stream` as `encoder` and `head` see it now.

        The papers begin with random directions, of which nothing can be learned before the second epoch.
        """
        self.bank.copy_(F.normalize(head(encode_all(encoder, stream))))

    def see(self, rows: Tensor, features: Tensor) -> None:
        """Take note of this step's features [B, width] of the images `rows`, int64 [B]."""
        self._seen = rows, features.detach()

    def move(self) -> None:
        """Move the memory of the images that were seen on any rank."""
        assert self._seen is not None
        rows, features = (gathered(each) for each in self._seen)
        self.bank[rows] = F.normalize(self.bank[rows].lerp(features.to(self.bank), 1 - self.momentum))
        self._seen = None
