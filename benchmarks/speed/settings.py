"""Settings of a benchmark run, the same for every section and every implementation."""

import os
from dataclasses import dataclass, field
from pathlib import Path

from repflow.hardware.cpu import Instructions


def cores() -> int:
    """The number of CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class Settings:
    """What is measured, and for how long.

    Attributes:
        repeats: number of rounds; each implementation runs once a round.
        seconds: approximate time per implementation and round.
        device: "cpu", or "cuda" with bf16 as in `conf/hardware/gpu.yaml`.
        threads: PyTorch threads of the training process; augmentation is measured with one.
        instructions: CPU instructions that PyTorch may use, as `hardware.instructions`; the same for all.
        workers: DataLoader workers of the implementations that have them.
        batch: batch size; None for the default of each section.
        images: number of training images.
        size: width and height of an image in pixels.
        data: a data set on disk; None for crops of scikit-learn's photographs.
        encoders: the encoders of SimCLR, files of `conf/encoder/`.
    """

    repeats: int = 5
    seconds: float = 3.0
    device: str = "cpu"
    threads: int = field(default_factory=cores)
    instructions: Instructions = "native"
    workers: int = field(default_factory=cores)
    batch: int | None = None
    images: int = 20_000
    size: int = 32
    data: Path | None = None
    encoders: tuple[str, ...] = ("small", "resnet18")
