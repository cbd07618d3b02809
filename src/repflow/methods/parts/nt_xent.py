"""NT-Xent, the contrastive loss of two views of each image among those of all images.

Chen, Kornblith, Norouzi, Hinton. A Simple Framework for Contrastive Learning of Visual Representations. ICML 2020.
"""

import torch
import torch.nn.functional as F
from lightly.utils import dist
from torch import Tensor, nn

from repflow.methods.parts.off_diagonal import off_diagonal


class NTXent(nn.Module):
    """The loss of `lightly.loss.NTXentLoss`, to the last bit, with the negatives of all processes.

    lightly's takes the similarities of different images by a mask, whose number of entries a GPU has to tell the host
    first. Here they are taken by their places.

    Args:
        temperature: divides the cosine similarities, above 0.
    """

    def __init__(self, temperature: float):
        super().__init__()
        self.temperature = temperature

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """The mean over both views of all images, a scalar.

        Args:
            first: projections of one view of each image [B, width]; of any length, only their directions matter.
            second: of the other view.
        """
        count = len(first)
        first, second = F.normalize(first, dim=1), F.normalize(second, dim=1)
        every_first, every_second = first, second
        if dist.world_size() > 1:
            every_first, every_second = (torch.cat(dist.gather(each), 0) for each in (first, second))
        # In the order of lightly's, in which gradients are added up.
        similar_00, similar_01 = self._similar(first, every_first), self._similar(first, every_second)
        similar_10, similar_11 = self._similar(second, every_first), self._similar(second, every_second)
        of_first = torch.cat([similar_01, _of_others(similar_00)], dim=1)  # [B, 2 ranks x B - 1]
        of_second = torch.cat([similar_10, _of_others(similar_11)], dim=1)
        logits = torch.cat([of_first, of_second])
        right = torch.arange(count, device=logits.device) + dist.rank() * count
        return F.cross_entropy(logits, right.repeat(2))

    def _similar(self, some: Tensor, others: Tensor) -> Tensor:
        """Similarities [B, N] of projections [B, width] and [N, width], over the temperature."""
        return torch.einsum("nc,mc->nm", some, others) / self.temperature


def _of_others(similar: Tensor) -> Tensor:
    """Similarities [B, N] of this process's images with those of all processes, without those of an image with itself:
    [B, N - 1]."""
    count, start = len(similar), dist.rank() * len(similar)
    before, own, after = similar.tensor_split([start, start + count], dim=1)
    return torch.cat([before, off_diagonal(own), after], dim=1)
