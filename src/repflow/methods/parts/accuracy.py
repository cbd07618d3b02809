"""Accuracy where several candidates may be the same: blank patches, or copies of an image."""

from torch import Tensor

_SAME_LOGIT = 1e-4
"""Logits that differ by less are the same: those of the same content differ by rounding errors."""


def accuracy_with_ties(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean accuracy of choosing the largest logit, at random among those that are the same.

    Args:
        logits: [..., candidates].
        targets: int64 [...], the right candidates.
    """
    best = logits >= logits.amax(dim=-1, keepdim=True) - _SAME_LOGIT
    right = best.gather(-1, targets[..., None])[..., 0]
    return (right / best.sum(dim=-1)).mean()
