"""Augmentation alone, on one thread: images per second of CPU time, from uint8 in memory to float tensors."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.transforms import v2

from repflow.augment.operations import RandAugment
from repflow.augment.policy import Policy
from repflow.data.read.batches import as_float
from repflow.randomness.draws import Draw
from speed import ours
from speed.images import Images
from speed.race import Rival, again, race
from speed.settings import Settings

Act = Callable[[int], Tensor]
"""Called with the number of a step, returns the views of a batch: float [B, 3, H, W] in [0, 1]."""

BATCH = 256


def measure(settings: Settings, images: Images) -> list[dict[str, Any]]:
    """The views of SimCLR and of RandAugment, by every implementation."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    batch = settings.batch or BATCH
    shared = {"batch": batch, "threads": 1, "size": settings.size}
    try:
        return [
            race(
                name,
                "images/s of processor time",
                rivals(name, images, batch),
                settings.repeats,
                settings.seconds,
                **shared,
            )
            for name in ("simclr", "randaugment")
        ]
    finally:
        torch.set_num_threads(threads)


def rivals(name: str, images: Images, batch: int) -> list[Rival]:
    """Every implementation of the policy `name`, repflow last."""
    makers: dict[str, Callable[..., Act]] = {
        "torchvision on PIL": torchvision_on_pillow,
        "torchvision on tensors": torchvision_on_tensors,
        "kornia, slices": kornia_slices,
        "kornia, resampling": kornia_resampling,
        "repflow": repflow,
    }
    if name == "randaugment":  # RandAugment has no crop
        makers["kornia"] = kornia_randaugment
        makers = {key: makers[key] for key in ("torchvision on PIL", "torchvision on tensors", "kornia", "repflow")}
    # CPU time measures one core, independent of other load on the machine.
    return [again(rival, maker, batch, name, images, batch, now=time.process_time) for rival, maker in makers.items()]


def per_image(name: str, size: int) -> list[nn.Module]:
    """torchvision's transforms of one image, equivalent to `natural.simclr` or to RandAugment of strength 0.3."""
    if name == "randaugment":
        return [v2.RandAugment(num_ops=2, magnitude=9)]
    return [
        v2.RandomResizedCrop(size, scale=(0.08, 1.0)),
        v2.RandomHorizontalFlip(),
        v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8),
        v2.RandomGrayscale(p=0.2),
    ]


def torchvision_on_pillow(name: str, images: Images, batch: int) -> Act:
    """torchvision's v2 transforms on one Pillow image after the other, as a data set of Pillow images gets them; each
    image becomes a float tensor at the end and the batch is stacked."""
    pillow = images.pillow(batch)
    transform = v2.Compose([*per_image(name, images.pixels.shape[2]), v2.ToImage(), v2.ToDtype(torch.float32, True)])
    return lambda step: torch.stack([transform(image) for image in pillow])


def torchvision_on_tensors(name: str, images: Images, batch: int) -> Act:
    """The same transforms on one uint8 tensor [3, H, W] after the other, the form that torchvision's documentation
    recommends for speed; each becomes float at the end and the batch is stacked."""
    tensors = torch.from_numpy(images.pixels[:batch]).unbind()
    transform = v2.Compose([*per_image(name, images.pixels.shape[2]), v2.ToDtype(torch.float32, True)])
    return lambda step: torch.stack([transform(image) for image in tensors])


def kornia_slices(name: str, images: Images, batch: int) -> Act:
    """kornia's augmentations on the whole float batch, parameters drawn for each image, `RandomResizedCrop` in its
    default mode, which cuts one image after the other. The order of the colour changes is drawn per batch."""
    return _kornia_views(images, batch, "slice")


def kornia_resampling(name: str, images: Images, batch: int) -> Act:
    """The same with `cropping_mode="resample"`, which warps the whole batch at once."""
    return _kornia_views(images, batch, "resample")


def _kornia_views(images: Images, batch: int, mode: str) -> Act:
    import kornia.augmentation as K

    size = images.pixels.shape[2]
    transform = K.ImageSequential(
        K.RandomResizedCrop((size, size), scale=(0.08, 1.0), cropping_mode=mode),
        K.RandomHorizontalFlip(),
        K.ColorJitter(0.4, 0.4, 0.4, 0.1, p=0.8),
        K.RandomGrayscale(p=0.2),
    )
    return partial(_without_gradient, transform, torch.from_numpy(images.pixels[:batch]))


def kornia_randaugment(name: str, images: Images, batch: int) -> Act:
    """kornia's RandAugment of two operations at magnitude 9 on the whole float batch. It does less than the others:
    all images of a batch get the same two operations."""
    from kornia.augmentation import ImageSequential
    from kornia.augmentation.auto import RandAugment as KorniaRandAugment

    transform = ImageSequential(KorniaRandAugment(n=2, m=9))
    return partial(_without_gradient, transform, torch.from_numpy(images.pixels[:batch]))


@torch.no_grad()
def _without_gradient(transform: nn.Module, pixels: Tensor, step: int) -> Tensor:
    views: Tensor = transform(as_float(pixels))
    return views


def repflow(name: str, images: Images, batch: int) -> Act:
    """repflow's policy on the whole batch, converted to float first; every image has parameters, an order of the colour
    changes and, in RandAugment, operations of its own."""
    policy = ours.policy("simclr") if name == "simclr" else Policy((RandAugment(strength=(0.3, 0.3)),))
    pixels = torch.from_numpy(images.pixels[:batch])
    return lambda step: policy(as_float(pixels), Draw(0, "benchmark", step))
