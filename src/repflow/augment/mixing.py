"""Mixing images and their labels, each image with one other: mixup and CutMix.

Zhang, Cisse, Dauphin, Lopez-Paz. mixup: Beyond Empirical Risk Minimization. ICLR 2018.
Yun, Han, Oh, Chun, Choe, Yoo. CutMix: Regularization Strategy to Train Strong Classifiers with Localizable Features.
ICCV 2019.

Labels are probabilities [B, classes], as `F.one_hot(labels, classes).float()` makes them, and what
`F.cross_entropy(logits, labels)` takes.
"""

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from repflow.augment.rows import beside
from repflow.augment.texture import erase
from repflow.hardware.portable_math import square_root
from repflow.randomness.draws import Draw
from repflow.schema import Fraction, Positive, parameters

Mixed = tuple[Tensor, Tensor]
"""Images [B, C, H, W] and labels [B, classes]."""


def partners(count: int) -> Tensor:
    """Whom each of `count` images is mixed with: the one half a batch further on, int64 [B].

    A batch comes in random order, so this partner is as random as a drawn one. Where several processes share a batch,
    each mixes its own share, and gets what one process would have made of it as long as every share is even: half a
    share further on is half the common batch further on. Several views, one below the other, are mixed one by one, or
    an image might meet itself.
    """
    return torch.arange(count).roll(-(count // 2))


def mixup(images: Tensor, labels: Tensor, shares: Tensor, others: Tensor) -> Mixed:
    """Every image and label to its share, its partner's to the rest.

    Args:
        images: [B, C, H, W].
        labels: [B, classes].
        shares: of the image itself, in [0, 1], [B].
        others: positions of the partners, int64 [B].
    """
    weights, others = beside(shares, images), beside(others, images)
    mixed_images = torch.lerp(images[others], images, weights.view(-1, 1, 1, 1))
    return mixed_images, torch.lerp(labels[others], labels, weights.view(-1, 1))


def cutmix(
    images: Tensor, labels: Tensor, top: Tensor, left: Tensor, height: Tensor, width: Tensor, others: Tensor
) -> Mixed:
    """A box of every image replaced by its partner's, and that share of the label.

    Args:
        images: [B, C, H, W].
        labels: [B, classes].
        top: first row of each box, whole numbers [B].
        left: first column.
        height: in pixels, from 0 to H - top.
        width: in pixels, from 0 to W - left.
        others: positions of the partners, int64 [B].
    """
    shares = beside(1 - height * width / (images.shape[2] * images.shape[3]), images)
    others = beside(others, images)
    mixed_images = erase(images, top, left, height, width, images[others])
    return mixed_images, torch.lerp(labels[others], labels, shares.view(-1, 1))


@parameters
class Mixup:
    """Each image mixed with another one, pixel by pixel.

    Attributes:
        alpha: the image's own share is drawn from Beta(alpha, alpha).
        probability: of an image being mixed.
    """

    op: Literal["mixup"] = "mixup"
    alpha: Positive = 0.2
    probability: Fraction = 1.0

    def __call__(self, images: Tensor, labels: Tensor, draw: Draw) -> Mixed:
        """Mix a batch; both are left as they are.

        Args:
            images: [B, C, H, W].
            labels: probabilities [B, classes].
            draw: the step's random numbers.
        """
        return mixup(images, labels, _shares(self, len(images), draw.to("cpu")), partners(len(images)))


@parameters
class CutMix:
    """A box of each image replaced by another one's.

    Attributes:
        alpha: the image's own share of the area is drawn from Beta(alpha, alpha), before the box is cut at the edge.
        probability: of an image being mixed.
    """

    op: Literal["cutmix"] = "cutmix"
    alpha: Positive = 1.0
    probability: Fraction = 1.0

    def __call__(self, images: Tensor, labels: Tensor, draw: Draw) -> Mixed:
        """Mix a batch; both are left as they are.

        Args:
            images: [B, C, H, W].
            labels: probabilities [B, classes].
            draw: the step's random numbers.
        """
        draw, count = draw.to("cpu"), len(images)
        halves = 0.5 * square_root(1 - _shares(self, count, draw))
        size = torch.tensor(images.shape[2:])
        centre = (draw.uniform(count, 2) * size).floor()
        reach = (halves[:, None] * size).floor()
        first, last = (centre - reach).clamp(min=0), (centre + reach).minimum(size)
        (top, left), (height, width) = first.unbind(1), (last - first).unbind(1)
        return cutmix(images, labels, top, left, height, width, partners(count))


Mixing = Annotated[Mixup | CutMix, Field(discriminator="op")]
"""The parameters of a way of mixing; its `op` tells which."""


def _shares(mixing: Mixup | CutMix, count: int, draw: Draw) -> Tensor:
    """What each image keeps of itself: [B]; all of it where chance says so."""
    shares = draw.beta(count, mixing.alpha)
    if mixing.probability == 1:
        return shares
    return shares.masked_fill(~draw.bernoulli(count, mixing.probability), 1)
