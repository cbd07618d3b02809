"""Colour transforms of whole batches, with per-sample parameters.

Images are float [B, 1 or 3, H, W] in [0, 1]. Given the same parameters, every function gives the result of
`torchvision.transforms.v2.functional`. The parameters may be on the CPU while the images are on another device.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from repflow.augment.per_sample import Transform, per_image, to_device, transform_rows_

LUMA = (0.2989, 0.587, 0.114)
"""Weights of red, green and blue in the grey image."""


def brightness(images: Tensor, factors: Tensor) -> Tensor:
    """Multiply by a factor: 0 gives black, 1 the image. `factors` [B], at least 0."""
    return (images * per_image(factors, images)).clamp_(0, 1)


def contrast(images: Tensor, factors: Tensor) -> Tensor:
    """Blend with the image's mean grey: 0 gives that grey, 1 the image. `factors` [B], at least 0."""
    return blend(grey(images).mean(dim=(1, 2, 3), keepdim=True), images, factors)


def saturation(images: Tensor, factors: Tensor) -> Tensor:
    """Blend with the grey image: 0 gives the grey image, 1 the image. `factors` [B], at least 0."""
    if images.shape[1] == 1:
        return images
    return blend(grey(images), images, factors)


def greyscale(images: Tensor) -> Tensor:
    """The grey image, with the channels of the input."""
    return grey(images).expand_as(images).contiguous()


def hue(images: Tensor, turns: Tensor) -> Tensor:
    """Rotate the hue of the HSV colour circle by a fraction of it, `turns` [B] in [-0.5, 0.5]."""
    if images.shape[1] == 1:
        return images
    # The circle in sixths: red lies at 0, green at 2, blue at 4. A channel is `value` up to one sixth from the hue,
    # `value - chroma` from two sixths on, and falls in between. So there is no case distinction by sector.
    red, green, blue = images.unbind(1)
    value, least = images.amax(1), images.amin(1)
    chroma = value - least
    from_red = (green + blue).sub_(red).sub_(least).div_(chroma.clamp(min=1e-12)).add_(1)
    turned = from_red.copysign_(green - blue).add_(to_device(6 * turns, images).view(-1, 1, 1))
    turned.sub_((turned + 1).div_(6).floor_(), alpha=6)  # in [-1, 5), less than a circle from every colour
    away = turned[:, None] - torch.arange(0, 5, 2, device=images.device).view(3, 1, 1)
    from_opposite = away.abs_().sub_(3).abs_()
    return torch.addcmul((value - 2 * chroma)[:, None], chroma[:, None], from_opposite.clamp_(1, 2))


ForSome = Callable[[Tensor, Tensor, Transform, Tensor], Tensor]
"""Applies a transform with parameters [B] to the images that are chosen by bool [B], and returns all: [B, C, H, W]."""


def jitter(
    images: Tensor, factors: Tensor, turns: Tensor, order: Tensor, place: Tensor, *, for_some: ForSome = transform_rows_
) -> Tensor:
    """Colour jitter: brightness, contrast, saturation and hue, in an order per image.

    Args:
        images: [B, C, H, W].
        factors: of brightness, contrast and saturation [B, 3].
        turns: of the hue [B].
        order: the order of the three (0, 1, 2), int64 [B, up to 3].
        place: how many of them come before the hue, int64 [B].
        for_some: rotates the hue of the images whose turn it is, `transform_rows_` or `transform_masked`; the other
            parameters are where this needs them.
    """
    last = order.shape[1]
    images = images.clone()
    for turn in range(last + 1):
        images = for_some(images, (place == turn) & (turns != 0), hue, turns)
        if turn < last:
            images = adjust(images, order[:, turn], factors.gather(1, order[:, turn : turn + 1])[:, 0])
    return images


def adjust(images: Tensor, which: Tensor, factors: Tensor) -> Tensor:
    """`brightness` where `which` [B] is 0, `contrast` where it is 1, `saturation` where it is 2, by `factors` [B].

    All three are a blend with a grey image, so one expression serves the whole batch. Factor 1 is exactly the identity.
    The images are changed in place.
    """
    if images.shape[1] == 1:
        factors = factors.masked_fill(which == 2, 1)
    rest, greys = 1 - factors, grey(images)
    other = greys.mean(dim=(1, 2, 3), keepdim=True) * per_image(rest * (which == 1), images)
    other = other + greys * per_image(rest * (which == 2), images)
    return images.mul_(per_image(factors, images)).add_(other).clamp_(0, 1)


def invert(images: Tensor) -> Tensor:
    """The negative."""
    return 1 - images


def solarise(images: Tensor, thresholds: Tensor) -> Tensor:
    """Invert the pixels at or above the image's threshold [B]."""
    reaches = images.clone().ge_(per_image(thresholds, images))
    return torch.addcmul(images, reaches, 1 - 2 * images)


def posterise(images: Tensor, bits: Tensor) -> Tensor:
    """Keep the most significant bits of each value; `bits` [B], integers from 0 to 8."""
    levels = per_image(2.0 ** bits.float(), images)
    steps = (images * levels).floor_().minimum(levels - 1)
    return steps / levels


def autocontrast(images: Tensor) -> Tensor:
    """Stretch every channel of every image to [0, 1]; constant channels are not changed."""
    low, high = images.amin(dim=(2, 3), keepdim=True), images.amax(dim=(2, 3), keepdim=True)
    flat = low == high
    low, high = low.masked_fill(flat, 0), high.masked_fill(flat, 1)
    return ((images - low) / (high - low)).clamp_(0, 1)


def equalise(images: Tensor) -> Tensor:
    """Equalise the histogram of every channel of every image, on 256 levels."""
    levels = (images * 255.999).to(torch.int64).flatten(2)  # [B, C, H * W]
    counts = torch.zeros(*levels.shape[:2], 256, dtype=torch.int64, device=images.device)
    counts.scatter_add_(2, levels, torch.ones_like(levels))
    below = counts.cumsum(2)
    highest = levels.amax(dim=2, keepdim=True)
    # A level goes to the share of pixels below it, counted in steps so that the last level in use goes to 255.
    step = (levels.shape[2] - counts.gather(2, highest)) // 255
    table = (below - counts + step // 2) // step.clamp(min=1)
    equal = table.gather(2, levels).clamp_(0, 255)
    chosen = torch.where(step == 0, levels, equal)
    return chosen.view(images.shape).to(images.dtype) / 255


def grey(images: Tensor) -> Tensor:
    """The grey image in one channel: [B, 1, H, W]."""
    if images.shape[1] == 1:
        return images
    red, green, blue = images.split(1, dim=1)
    weighted: Tensor = (red * LUMA[0]).add_(green, alpha=LUMA[1]).add_(blue, alpha=LUMA[2])
    return weighted


def blend(other: Tensor, images: Tensor, factors: Tensor) -> Tensor:
    """Interpolate, or extrapolate, between `other` at factor 0 and the image at 1; `factors` [B]."""
    factors = per_image(factors, images)
    return (images * factors).add_(other * (1 - factors)).clamp_(0, 1)
