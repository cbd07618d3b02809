"""Random image operations on whole batches, every image with numbers of its own."""

from repflow.augment.mixing import CutMix, Mixing, Mixup
from repflow.augment.policy import Policy, PolicyConfig

__all__ = ["CutMix", "Mixing", "Mixup", "Policy", "PolicyConfig"]
