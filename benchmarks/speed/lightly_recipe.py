"""SimCLR as in lightly's documentation: examples/pytorch_lightning/simclr.py of lightly, with repflow's encoder.

Changed so that all implementations do the same work: the encoder; the views that lightly recommends for small images
(half the colour strength, no blur), which equal `natural.simclr`; the widths of the head, the temperature and the
optimiser of `conf/pretrain/simclr.yaml`; no normalisation in the transform, because the encoder normalises. Omitted in
lightly's favour: checkpoints, logs, the progress bar, and restarting workers between epochs.
"""

import logging
import warnings
from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
import torch
from lightly.data import LightlyDataset
from lightly.data.multi_view_collate import MultiViewCollate
from lightly.loss import NTXentLoss
from lightly.models.modules import SimCLRProjectionHead
from lightly.transforms.simclr_transform import SimCLRTransform
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision.datasets import VisionDataset

from speed.images import Images
from speed.race import Clock
from speed.settings import Settings


class PillowImages(VisionDataset):  # type: ignore[misc]
    """Images in memory with the interface of torchvision's CIFAR10: a transformed Pillow image and its label."""

    def __init__(self, images: Images, transform: Callable[[Image.Image], Any] | None = None):
        super().__init__(transform=transform)
        self._pixels, self._labels = images.pixels.transpose(0, 2, 3, 1).copy(), images.labels

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, number: int) -> tuple[Any, int]:
        image = Image.fromarray(self._pixels[number])
        return (self.transform(image) if self.transform else image), int(self._labels[number])


class Recipe(pl.LightningModule):
    """The example's module: a forward pass for each of the two views."""

    def __init__(self, encoder: nn.Module, width: int, settings: dict[str, Any], optimizer: dict[str, float]):
        super().__init__()
        self.backbone = encoder
        self.projection_head = SimCLRProjectionHead(width, settings["hidden"], settings["projection"])
        self.criterion = NTXentLoss(settings["temperature"])
        self._optimizer = optimizer

    def forward(self, images: Tensor) -> Tensor:
        """Projections [B, projection] of images [B, 3, H, W]."""
        projected: Tensor = self.projection_head(self.backbone(images).flatten(start_dim=1))
        return projected

    def training_step(self, batch: Any, batch_index: int) -> Tensor:
        """The loss of a batch from `MultiViewCollate`."""
        (first, second), _, _ = batch
        loss: Tensor = self.criterion(self.forward(first), self.forward(second))
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW with a constant learning rate."""
        return torch.optim.AdamW(
            self.parameters(), lr=self._optimizer["learning_rate"], weight_decay=self._optimizer["weight_decay"]
        )


class Ticks(pl.Callback):
    """Calls the clock after every step."""

    def __init__(self, clock: Clock):
        self._clock = clock

    def on_train_batch_end(self, *_: Any) -> None:
        """A step is done."""
        self._clock.tick()


def loader(images: Images, batch: int, settings: Settings) -> DataLoader[Any]:
    """The example's data set and loader, with `settings.workers` processes."""
    transform = SimCLRTransform(input_size=settings.size, cj_strength=0.5, gaussian_blur=0.0, normalize=None)
    return DataLoader(
        LightlyDataset.from_torch_dataset(PillowImages(images), transform=transform),
        batch_size=batch,
        collate_fn=MultiViewCollate(),
        shuffle=True,
        drop_last=True,
        num_workers=settings.workers,
        persistent_workers=settings.workers > 0,
        pin_memory=settings.device == "cuda",
    )


def fit(module: Recipe, data: DataLoader[Any], settings: Settings, clock: Clock) -> None:
    """Train with Lightning's Trainer, in bf16 on a GPU."""
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    gpu = settings.device == "cuda"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = pl.Trainer(
            max_steps=clock.total,
            devices=1,
            accelerator="gpu" if gpu else "cpu",
            precision="bf16-mixed" if gpu else "32-true",
            callbacks=[Ticks(clock)],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(module, train_dataloaders=data)
