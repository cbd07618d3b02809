"""A memory bank: a moving average of the features of every training image.

Wu, Xiong, Yu, Lin. Unsupervised Feature Learning via Non-Parametric Instance Discrimination. CVPR 2018.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from repflow.data.read.batches import Stream
from repflow.encoders import Encoder
from repflow.methods.parts.dataset_features import encode_all
from repflow.methods.parts.distributed import gathered


class MemoryBank(nn.Module):
    """L2-normalised features, one row for each of `count` images.

    Args:
        count: number of images.
        width: dimension of a feature.
        momentum: weight of the stored feature when it is updated with a new one.
    """

    bank: Tensor

    def __init__(self, count: int, width: int, momentum: float):
        super().__init__()
        self.momentum = momentum
        self.register_buffer("bank", torch.zeros(count, width))
        self._seen: tuple[Tensor, Tensor] | None = None

    def fill(self, stream: Stream, encoder: Encoder, head: Callable[[Tensor], Tensor]) -> None:
        """Initialise the bank with the current features of all images of `stream`.

        The papers initialise it with random vectors, which are not informative before the second epoch.
        """
        self.bank.copy_(F.normalize(head(encode_all(encoder, stream))))

    def observe(self, rows: Tensor, features: Tensor) -> None:
        """Store this step's features [B, width] of the images `rows`, int64 [B], until `update`."""
        self._seen = rows, features.detach()

    def update(self) -> None:
        """Update the rows of this step's images, of all processes."""
        assert self._seen is not None
        rows, features = (gathered(each) for each in self._seen)
        self.bank[rows] = F.normalize(self.bank[rows].lerp(features.to(self.bank), 1 - self.momentum))
        self._seen = None
