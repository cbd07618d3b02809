"""Adversarial losses of discriminator and generator, on the discriminator's logits.

Goodfellow et al. Generative Adversarial Nets. NeurIPS 2014.
"""

import torch.nn.functional as F
from torch import Tensor


def discriminator_loss(real: Tensor, generated: Tensor) -> Tensor:
    """The discriminator's loss: binary cross-entropy of the logits of real images plus that of generated images."""
    return F.softplus(-real).mean() + F.softplus(generated).mean()


def generator_loss(generated: Tensor) -> Tensor:
    """The non-saturating loss of the generator, on the logits of generated images."""
    return F.softplus(-generated).mean()


def discriminator_accuracy(real: Tensor, generated: Tensor) -> Tensor:
    """The discriminator's balanced accuracy on real and generated images, in [0, 1]."""
    return 0.5 * ((real > 0).float().mean() + (generated < 0).float().mean())
