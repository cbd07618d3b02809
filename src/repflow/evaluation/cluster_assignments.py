"""Cluster assignments by clustering methods themselves, as opposed to k-means on their features."""

from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from repflow.data.read.batches import inference_batch
from repflow.data.read.memory_mapped import Images
from repflow.evaluation.features import in_batches

_BATCH_SIZE = 256


@runtime_checkable
class AssignsClusters(Protocol):
    """The interface of clustering methods."""

    def assign(self, images: Tensor) -> Tensor:
        """The cluster assignment of each image [B, C, H, W] in [0, 1]: int64 [B].

        Raises:
            ParameterError: the method has no clusters.
        """


def cluster_assignments(method: AssignsClusters, images: Images) -> np.ndarray:
    """Cluster assignments of images, uint8 [N, C, H, W], by `method` in evaluation mode on the CPU: int64 [N].

    Raises:
        ParameterError: the method has no clusters.
    """
    with torch.inference_mode():
        found = [
            method.assign(part).numpy()
            for part in in_batches(images, inference_batch(images, _BATCH_SIZE), torch.device("cpu"))
        ]
    return np.concatenate([np.empty(0, np.int64), *found])
