"""Multi-crop: views of several sizes, and which of them share a forward pass.

Caron, Misra, Mairal, Goyal, Bojanowski, Joulin. Unsupervised Learning of Visual Features by Contrasting Cluster
Assignments. NeurIPS 2020.
"""

from collections.abc import Callable, Sequence
from itertools import groupby

import torch
from torch import Tensor


def by_size(network: Callable[[Tensor], Tensor], views: Sequence[Tensor]) -> Tensor:
    """Outputs for several views of a batch: [views x B, width], one view after the other.

    Neighbouring views of one size share a forward pass, as in the authors' programs for SwAV and DINO. Where there is
    batch normalisation, global views have statistics of their own, and so have local ones.

    Args:
        network: images [N, C, H, W] to outputs [N, width].
        views: [B, C, H, W] each, of any sizes.
    """
    groups = groupby(views, key=lambda view: view.shape[2:])
    return torch.cat([network(torch.cat(list(group))) for _, group in groups])
