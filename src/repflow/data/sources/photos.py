"""Photos to cut backgrounds from: two that scikit-learn carries, or the user's own."""

from typing import Literal

import numpy as np

from repflow.data.sources.contract import Request
from repflow.schema import parameters


@parameters
class BundledPhotos:
    """The two photos that scikit-learn carries: a temple in China and a dahlia, 640x427 pixels."""

    kind: Literal["bundled"]

    def photos(self, request: Request) -> list[np.ndarray]:
        """Every photo, uint8 [3, height, width]."""
        from sklearn.datasets import load_sample_images  # takes a second to import

        return [photo.transpose(2, 0, 1) for photo in load_sample_images().images]


Photos = BundledPhotos
