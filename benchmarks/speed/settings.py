"""What a run of the benchmark is asked for, the same for every section and every rival."""

import os
from dataclasses import dataclass, field
from pathlib import Path

from repflow.hardware.cpu import Instructions


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class Settings:
    """What is measured, and for how long.

    Attributes:
        repeats: rounds in which every rival runs once.
        seconds: for which each of them runs in a round, about.
        device: "cpu", or "cuda" with bf16 as in `conf/hardware/gpu.yaml`.
        threads: of PyTorch in the process that trains; augmentation is measured on one.
        instructions: of the CPU that PyTorch may use, as `hardware.instructions`; the same for every rival.
        workers: processes that load data, for the rivals that need some.
        batch: images in a batch; None for what each section takes.
        images: how many images there are to learn from.
        size: of an image's side in pixels.
        data: a data set on the disk; None for pieces of scikit-learn's photographs.
        encoders: that SimCLR is measured with, files of `conf/encoder/`.
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
