"""Random image operations on whole batches, every image with numbers of its own."""

from repflow.augment.policy import Policy, PolicyConfig

__all__ = ["Policy", "PolicyConfig"]
