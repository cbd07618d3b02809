"""FixMatch training: images per second, labelled and unlabelled, each unlabelled one in a weak and a strong view."""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, RandomSampler
from torchvision.transforms import v2

from repflow.data.read.batches import Stream
from repflow.data.read.rows import Rows
from repflow.methods.semisup.fixmatch import FixMatch
from repflow.randomness.draws import Draw
from repflow.training.optimisation import averaged
from speed import ours
from speed.images import Images
from speed.race import Clock, Rival, race, training
from speed.settings import Settings
from speed.simclr import on_device, plain_adamw, precision, torch_as_it_comes

BATCH, LABELLED = 64, 400

Views = tuple[Tensor, Tensor, Tensor, Tensor]
"""Labelled views [B, 3, H, W], their labels [B], weak and strong views of unlabelled images [μB, 3, H, W]."""


def measure(settings: Settings, images: Images) -> list[dict[str, Any]]:
    """All implementations with the small encoder."""
    shared = {"batch": settings.batch or BATCH, "unlabelled_ratio": ratio(), "encoder": "small"}
    shared |= {name: getattr(settings, name) for name in ("threads", "workers", "device", "size")}
    return [race("fixmatch", "images/s", rivals(settings, images), settings.repeats, settings.seconds, **shared)]


def rivals(settings: Settings, images: Images) -> list[Rival]:
    """Every implementation, repflow last."""
    makers = {"torchvision in workers": torchvision_in_workers, "bare loop": bare_loop, "repflow": repflow}
    count = (settings.batch or BATCH) * (1 + ratio())
    return [training(name, maker, count, settings.device, settings, images) for name, maker in makers.items()]


def ratio() -> int:
    """Number of unlabelled images per labelled image."""
    return int(ours.read("finetune", "fixmatch")["settings"]["unlabelled_ratio"])


def labelled(images: Images) -> Rows:
    """The labelled images."""
    rows = images.rows()
    return Rows(rows.images[:LABELLED], rows.labels[:LABELLED], rows.index[:LABELLED], rows.classes)


def torchvision_in_workers(settings: Settings, images: Images, clock: Clock) -> None:
    """The bare loop fed by torchvision: Pillow images through v2's flip, padded crop, RandAugment and erasing, in the
    workers of one DataLoader for labelled and one for unlabelled images."""
    _loop(settings, images, clock, _from_workers)


def bare_loop(settings: Settings, images: Images, clock: Clock) -> None:
    """A loop by hand in plain PyTorch around repflow's batches and policies `weak` and `strong`; the average of the
    weights as in `conf/finetune/fixmatch.yaml`, no schedule, validation, curve, progress, checkpoint or Fabric."""
    _loop(settings, images, clock, _from_batches)


def repflow(settings: Settings, images: Images, clock: Clock) -> None:
    """`repflow.training.train` with `conf/finetune/fixmatch.yaml`, without validation."""
    configured = {**ours.read("training", "classifier"), **ours.read("finetune", "fixmatch")["training"]}
    configured |= {"optimizer": ours.read("training", "pretext")["optimizer"], "early_stopping": None}
    rows = {"labelled": labelled(images), "unlabelled": images.rows()}
    training = {**configured, "batch_size": settings.batch or BATCH}
    ours.fit(ours.new_fixmatch(images), rows, training, settings, clock)


def _loop(
    settings: Settings,
    images: Images,
    clock: Clock,
    feed: Callable[[FixMatch, Settings, Images, torch.device], Iterator[Views]],
) -> None:
    torch_as_it_comes(settings)
    device = torch.device(settings.device)
    method = on_device(ours.new_fixmatch(images), settings)
    optimizer = plain_adamw(method)
    average = averaged(method.learned, ours.read("finetune", "fixmatch")["training"]["ema"])
    for views, labels, weak, strong in islice(feed(method, settings, images, device), clock.total):
        with precision(settings):
            total = _loss(method, views, labels, weak, strong)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        average.update_parameters(method.learned)
        clock.tick()


def _loss(method: FixMatch, views: Tensor, labels: Tensor, weak: Tensor, strong: Tensor) -> Tensor:
    supervised = F.cross_entropy(method.classifier(views), labels)
    with torch.no_grad():
        confidence, guesses = method.classifier(weak).softmax(1).max(1)
        confident = (confidence >= method.config.threshold).float()
    unsupervised = (confident * F.cross_entropy(method.classifier(strong), guesses, reduction="none")).mean()
    total: Tensor = supervised + method.config.weight * unsupervised
    return total


def _from_batches(method: FixMatch, settings: Settings, images: Images, device: torch.device) -> Iterator[Views]:
    size = settings.batch or BATCH
    few, many = Stream("labelled", labelled(images), device), Stream("unlabelled", images.rows(), device)
    step = 0
    while True:
        draw = Draw(0, "step", step, device)
        known, unknown = few.at(step, size, 0), many.at(step, size * ratio(), 0).images
        yield (
            method.weak(known.images, draw.stream("labelled")),
            known.labels,
            method.weak(unknown, draw.stream("weak")),
            method.strong(unknown, draw.stream("strong")),
        )
        step += 1


def _from_workers(method: FixMatch, settings: Settings, images: Images, device: torch.device) -> Iterator[Views]:
    size = settings.batch or BATCH
    weak, strong = transforms(settings.size)
    few = _loader(Transformed(images, LABELLED, (weak,)), size, settings)
    many = _loader(Transformed(images, len(images), (weak, strong)), size * ratio(), settings)
    for (known, labels), (first, second, _) in zip(few, many, strict=False):
        moved = (part.to(device, non_blocking=True) for part in (known, labels, first, second))
        yield tuple(moved)


def transforms(size: int) -> tuple[v2.Compose, v2.Compose]:
    """torchvision's weak and strong transforms of one image, as `natural.weak` and `natural.strong`."""
    moved = [v2.RandomHorizontalFlip(), v2.RandomCrop(size, padding=4, padding_mode="reflect")]
    tensor = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]
    erased = v2.RandomErasing(p=1.0, scale=(0.25, 0.25), ratio=(1.0, 1.0), value=0.5)
    return v2.Compose([*moved, *tensor]), v2.Compose([*moved, v2.RandAugment(2, 15), *tensor, erased])


class Transformed(Dataset[tuple[Any, ...]]):
    """The first `count` images, each transformed by every transform, and its label."""

    def __init__(self, images: Images, count: int, transforms: tuple[v2.Compose, ...]):
        self._pixels, self._labels = images.pixels[:count].transpose(0, 2, 3, 1).copy(), images.labels[:count]
        self._transforms = transforms

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, number: int) -> tuple[Any, ...]:
        image = Image.fromarray(self._pixels[number])
        return (*(transform(image) for transform in self._transforms), int(self._labels[number]))


def _loader(data: Transformed, size: int, settings: Settings) -> DataLoader[Any]:
    """Endless batches: images are sampled with replacement, so that workers never restart."""
    return DataLoader(
        data,
        batch_size=size,
        sampler=RandomSampler(data, replacement=True, num_samples=10**9),
        num_workers=settings.workers,
        pin_memory=settings.device == "cuda",
    )
