"""Ingestion: images per second from files on disk."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from repflow.data.ingest.ingestion import DataConfig, ingest
from repflow.schema import build
from speed.images import MNIST, Images, mnist_folder
from speed.race import Rival, again, race
from speed.settings import Settings

FILES, BATCH = 4000, 256


def measure(settings: Settings, images: Images) -> list[dict[str, Any]]:
    """Folders of PNG and of JPEG files; and MNIST's files, if `--data` has them."""
    races = []
    with tempfile.TemporaryDirectory() as name:
        scratch, count = Path(name), min(FILES, len(images))
        for ending in ("png", "jpg"):
            images.write(scratch / ending, ending, count)
            shared = {"files": count, "size": settings.size, "workers": settings.workers}
            entrants = rivals(scratch / ending, count, settings, scratch)
            races.append(race(f"folder of {ending}", "images/s", entrants, settings.repeats, 0, **shared))
        if settings.data and (folder := mnist_folder(settings.data)):
            entrants = [again("repflow", repflow, 60_000, MNIST, 28, folder, scratch)]
            races.append(race("MNIST's IDX files", "images/s", entrants, settings.repeats, 0, files=1, size=28))
    return races


def rivals(folder: Path, count: int, settings: Settings, scratch: Path) -> list[Rival]:
    """torchvision's ImageFolder without and with workers, and repflow."""
    source = {"kind": "folder", "path": folder.name}
    return [
        again("ImageFolder", image_folder, count, folder, settings.size, 0),
        again("ImageFolder in workers", image_folder_in_workers, count, folder, settings.size, settings.workers),
        again("repflow", repflow, count, source, settings.size, folder.parent, scratch),
    ]


def image_folder(folder: Path, size: int, workers: int) -> Callable[[int], Tensor]:
    """torchvision's ImageFolder read once from the first file to the last by a DataLoader in its own process: every
    image decoded by Pillow, brought to size and put into one uint8 tensor. No facts, hashes or manifest; nothing is
    written."""

    def act(_: int) -> Tensor:
        transform = v2.Compose([v2.Resize((size, size)), v2.PILToTensor()])
        loader = DataLoader(ImageFolder(str(folder), transform), batch_size=BATCH, num_workers=workers)
        return torch.cat([images for images, _ in loader])

    return act


def image_folder_in_workers(folder: Path, size: int, workers: int) -> Callable[[int], Tensor]:
    """The same with as many workers as there are cores, their start included."""
    return image_folder(folder, size, workers)


def repflow(source: dict[str, Any], size: int, root: Path, scratch: Path) -> Callable[[int], None]:
    """`repflow.data.ingest.ingestion.ingest`: decode, resize, compute every fact and hash of every image, and write the
    store with its manifest."""
    values = {"size": size, "channels": 3, "resize": "stretch", "source": source, "target": {"kind": "none"}}
    config = build(DataConfig, values, "benchmark")
    return lambda _: ingest(config, "source", 0, root, scratch / "store")
