"""The losses of an adversarial game, on scores that are high for what looks real.

Goodfellow et al. Generative Adversarial Nets. NeurIPS 2014.
"""

import torch.nn.functional as F
from torch import Tensor


def tell_apart(real: Tensor, made: Tensor) -> Tensor:
    """The discriminator's loss: the mean cross-entropy of real scores, any shape, and that of made ones, added."""
    return F.softplus(-real).mean() + F.softplus(made).mean()


def look_real(made: Tensor) -> Tensor:
    """The loss of who made the images, without saturation: small where their scores are high."""
    return F.softplus(-made).mean()


def told_apart(real: Tensor, made: Tensor) -> Tensor:
    """The share of scores that are on their side of 0, real and made ones counting the same: in [0, 1]."""
    return 0.5 * ((real > 0).float().mean() + (made < 0).float().mean())
