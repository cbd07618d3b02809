"""The clusters that a method finds itself."""

from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from repflow.data.read.memory_mapped import Images
from repflow.evaluation.features import in_parts

_AT_ONCE = 256


@runtime_checkable
class Clusters(Protocol):
    """What a method that finds clusters has. Such methods need no other mark."""

    def assign(self, images: Tensor) -> Tensor:
        """The cluster of each image [B, C, H, W] in [0, 1]: int64 [B].

        Raises:
            ParameterError: no cluster was found.
        """


def own_clusters(method: Clusters, images: Images) -> np.ndarray:
    """The cluster that `method`, in evaluation mode on the CPU, gives each image, uint8 [N, C, H, W]: int64 [N].

    Raises:
        ParameterError: no cluster was found.
    """
    with torch.inference_mode():
        found = [method.assign(part).numpy() for part in in_parts(images, _AT_ONCE, torch.device("cpu"))]
    return np.concatenate([np.empty(0, np.int64), *found])
