"""mixup and CutMix: mix pairs of images and their labels.

Zhang, Cisse, Dauphin, Lopez-Paz. mixup: Beyond Empirical Risk Minimization. ICLR 2018.
Yun, Han, Oh, Chun, Choe, Yoo. CutMix: Regularization Strategy to Train Strong Classifiers with Localizable Features.
ICCV 2019.

Labels are class probabilities [B, classes], such as `F.one_hot(labels, classes).float()`, for use with
`F.cross_entropy(logits, labels)`.
"""

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from repflow.augment.per_sample import is_masked, pair, to_device
from repflow.augment.texture import erase
from repflow.hardware.portable_math import square_root
from repflow.randomness.draws import Draw
from repflow.schema import Fraction, Positive, parameters

Mixed = tuple[Tensor, Tensor]
"""Images [B, C, H, W] and labels [B, classes]."""


def partner_indices(count: int, device: torch.device | str = "cpu") -> Tensor:
    """Index of the image that each of `count` images is mixed with: the batch rolled by half its size, int64 [B].

    Batches are shuffled, so this partner is random. If several processes share a batch, each mixes its own part; with
    an even number of images per process the result is that of one process, as half a part further on is half the
    global batch further on. Mix concatenated views one by one, or an image may be mixed with a view of itself.
    """
    return torch.arange(count, device=device).roll(-(count // 2))


def mixup(images: Tensor, labels: Tensor, weights: Tensor, others: Tensor) -> Mixed:
    """Convex combination of every image and label with its partner's.

    Args:
        images: [B, C, H, W].
        labels: [B, classes].
        weights: of the image itself, in [0, 1], [B]; the partner has 1 - weight.
        others: positions of the partners, int64 [B].
    """
    weights, others = to_device(weights, images), to_device(others, images)
    mixed_images = torch.lerp(images[others], images, weights.view(-1, 1, 1, 1))
    return mixed_images, torch.lerp(labels[others], labels, weights.view(-1, 1))


def cutmix(
    images: Tensor, labels: Tensor, top: Tensor, left: Tensor, height: Tensor, width: Tensor, others: Tensor
) -> Mixed:
    """Replace a box of every image by its partner's, and mix the labels in proportion to the areas.

    Args:
        images: [B, C, H, W].
        labels: [B, classes].
        top: first row of each box, integers [B].
        left: first column.
        height: in pixels, from 0 to H - top.
        width: in pixels, from 0 to W - left.
        others: positions of the partners, int64 [B].
    """
    weights = to_device(1 - height * width / (images.shape[2] * images.shape[3]), images)
    others = to_device(others, images)
    mixed_images = erase(images, top, left, height, width, images[others])
    return mixed_images, torch.lerp(labels[others], labels, weights.view(-1, 1))


@parameters
class Mixup:
    """Convex combinations of pairs of images.

    Attributes:
        alpha: the weight of the image itself is drawn from Beta(alpha, alpha).
        probability: of an image being mixed.
    """

    op: Literal["mixup"] = "mixup"
    alpha: Positive = 0.2
    probability: Fraction = 1.0

    def __call__(self, images: Tensor, labels: Tensor, draw: Draw) -> Mixed:
        """Mix a batch; the arguments are not modified.

        Args:
            images: [B, C, H, W].
            labels: probabilities [B, classes].
            draw: the step's random numbers.
        """
        draw = _for(images, draw)
        return mixup(images, labels, _weights(self, len(images), draw), partner_indices(len(images), draw.device))


@parameters
class CutMix:
    """A box of each image replaced by the same box of another image.

    Attributes:
        alpha: the fraction of the area that is kept is drawn from Beta(alpha, alpha), before the box is clipped.
        probability: of an image being mixed.
    """

    op: Literal["cutmix"] = "cutmix"
    alpha: Positive = 1.0
    probability: Fraction = 1.0

    def __call__(self, images: Tensor, labels: Tensor, draw: Draw) -> Mixed:
        """Mix a batch; the arguments are not modified.

        Args:
            images: [B, C, H, W].
            labels: probabilities [B, classes].
            draw: the step's random numbers.
        """
        draw, count = _for(images, draw), len(images)
        halves = 0.5 * square_root(1 - _weights(self, count, draw))
        size = pair(images.shape[2], images.shape[3], draw.device)
        centre = (draw.uniform(count, 2) * size).floor()
        radius = (halves[:, None] * size).floor()
        first, last = (centre - radius).clamp(min=0), (centre + radius).minimum(size)
        (top, left), (height, width) = first.unbind(1), (last - first).unbind(1)
        return cutmix(images, labels, top, left, height, width, partner_indices(count, draw.device))


Mixing = Annotated[Mixup | CutMix, Field(discriminator="op")]
"""The parameters of mixup or CutMix, distinguished by `op`."""


def _for(images: Tensor, draw: Draw) -> Draw:
    """The random numbers where these images need them."""
    return draw.to(images.device if is_masked(images) else "cpu")


def _weights(mixing: Mixup | CutMix, count: int, draw: Draw) -> Tensor:
    """The weight of each image itself: [B]; 1 for images that are not mixed."""
    weights = draw.beta(count, mixing.alpha)
    if mixing.probability == 1:
        return weights
    return weights.masked_fill(~draw.bernoulli(count, mixing.probability), 1)
