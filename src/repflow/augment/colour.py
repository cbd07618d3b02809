"""Operations on whole batches that change values pixel by pixel: each image by its own numbers.

Images are float [B, 1 or 3, H, W] in [0, 1]. Given the same numbers, every function does to an image what
`torchvision.transforms.v2.functional` does to it.
"""

import torch
from torch import Tensor

LUMA = (0.2989, 0.587, 0.114)
"""What red, green and blue weigh in grey."""


def brightness(images: Tensor, factors: Tensor) -> Tensor:
    """Multiply; 0 gives black, 1 the image. `factors` [B], from 0 upwards."""
    return (images * _per_image(factors)).clamp_(0, 1)


def contrast(images: Tensor, factors: Tensor) -> Tensor:
    """Move away from the image's mean grey; 0 gives that grey, 1 the image. `factors` [B], from 0 upwards."""
    return blend(grey(images).mean(dim=(1, 2, 3), keepdim=True), images, factors)


def saturation(images: Tensor, factors: Tensor) -> Tensor:
    """Move away from grey; 0 gives the grey image, 1 the image. Grey images stay. `factors` [B], from 0 upwards."""
    if images.shape[1] == 1:
        return images
    return blend(grey(images), images, factors)


def greyscale(images: Tensor) -> Tensor:
    """The grey image, with as many channels as before."""
    return grey(images).expand_as(images)


def hue(images: Tensor, turns: Tensor) -> Tensor:
    """Turn the hue of the HSV colour circle by a share of it, `turns` [B] in [-0.5, 0.5]. Grey images stay."""
    if images.shape[1] == 1:
        return images
    # With hue h in sixths of the circle, value v and chroma c, a channel is v − c · clamp(2 − |k − 2|, 0, 1) where
    # k = (n + h) mod 6 and n is 5, 3, 1 for red, green, blue. So neither saturation nor sectors are needed.
    red, green, blue = images.unbind(1)
    value = torch.maximum(torch.maximum(red, green), blue)
    chroma = value - torch.minimum(torch.minimum(red, green), blue)
    # In-place comparisons give floats 0 and 1 at once, several times as fast as by way of booleans.
    is_red = red.clone().eq_(value)
    is_green = green.clone().eq_(value).mul_(1 - is_red)
    is_blue = 1 - is_red - is_green
    sixths = (green - blue).mul_(is_red).addcmul_(blue - red, is_green).addcmul_(red - green, is_blue)
    sixths.div_(chroma.clamp(min=1e-12)).add_(is_green, alpha=2).add_(is_blue, alpha=4).add_(6 * turns.view(-1, 1, 1))
    turned = []
    for n in (5, 3, 1):
        k = sixths + n
        k.sub_(torch.floor(k / 6), alpha=6)
        share = k.sub_(2).abs_().neg_().add_(2).clamp_(0, 1)
        turned.append(torch.addcmul(value, chroma, share, value=-1))
    return torch.stack(turned, dim=1)


def invert(images: Tensor) -> Tensor:
    """The negative."""
    return 1 - images


def solarise(images: Tensor, thresholds: Tensor) -> Tensor:
    """The negative of the pixels that reach the image's threshold [B]."""
    reaches = images.clone().ge_(_per_image(thresholds))
    return torch.addcmul(images, reaches, 1 - 2 * images)


def posterise(images: Tensor, bits: Tensor) -> Tensor:
    """Keep the upper bits of each value; `bits` [B], whole numbers from 0 to 8."""
    levels = _per_image(2.0 ** bits.float())
    steps = (images * levels).floor_().minimum(levels - 1)
    return steps / levels


def autocontrast(images: Tensor) -> Tensor:
    """Stretch every channel of every image to [0, 1]; a channel of one value stays."""
    low, high = images.amin(dim=(2, 3), keepdim=True), images.amax(dim=(2, 3), keepdim=True)
    flat = low == high
    low, high = low.masked_fill(flat, 0), high.masked_fill(flat, 1)
    return ((images - low) / (high - low)).clamp_(0, 1)


def equalise(images: Tensor) -> Tensor:
    """Make the histogram of every channel of every image, on 256 levels, as flat as it goes."""
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
    """From `other` at factor 0 through the image at 1 and on; `factors` [B]."""
    factors = _per_image(factors)
    return (images * factors).add_(other * (1 - factors)).clamp_(0, 1)


def _per_image(numbers: Tensor) -> Tensor:
    return numbers.view(-1, 1, 1, 1)
