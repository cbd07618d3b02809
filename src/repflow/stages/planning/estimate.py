"""What each stage will cost, computed from counts and rates."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from repflow.stages.planning.timing import Measured
from repflow.stages.planning.trainings import Training

_ROW = 300
"""Bytes of an image's row in a manifest."""


@dataclass(frozen=True)
class Estimate:
    """What one stage will cost; None where it is not known.

    Attributes:
        stage: address of the stage, as "adapt@dann".
        runs: whether DVC would run it; None where there is no DVC project.
        images: number of images that it works on.
        steps: optimiser steps, of all trials.
        batch_size: images of a step and stream.
        seconds: wall time, with the start of Python.
        memory_bytes: peak resident memory of the largest process.
        gpu_memory_bytes: peak GPU memory.
        disk_bytes: of what it writes.
        basis: where `seconds` comes from: "measured" steps or files, the "last run", or the "start" of Python and the
            imports alone, for a stage that takes little more; empty where it is not known.
    """

    stage: str
    runs: bool | None = None
    images: int | None = None
    steps: int | None = None
    batch_size: int | None = None
    seconds: float | None = None
    memory_bytes: int | None = None
    gpu_memory_bytes: int | None = None
    disk_bytes: int | None = None
    basis: str = ""


def training_seconds(training: Training, measured: Measured) -> float:
    """Seconds of a stage's steps and of as many validations as there can be, or of what it fits without steps."""
    config = training.recipe.section.training
    steps = (config.steps or 0) * measured.step
    return measured.fitting + training.turns * (steps + config.validations * training.validated * measured.image)


def training_memory(training: Training, measured: Measured, pixels: int, limit: float) -> int:
    """Bytes of a training's process: what was measured, with the images that are held in memory instead of random ones.

    Args:
        training: the training.
        measured: in a process with random images.
        pixels: bytes of an image.
        limit: images of more bytes stay in their file.
    """
    held = sum(count * pixels for count in training.held if count * pixels <= limit)
    return measured.memory - measured.images + held


def store_bytes(images: int, pixels: int) -> int:
    """Bytes of a store, given those of an image."""
    return images * (pixels + _ROW)


def as_values(rows: Iterable[Estimate]) -> list[Mapping[str, Any]]:
    """The rows as plain values, with six significant digits."""
    return [
        {key: float(f"{value:.6g}") if isinstance(value, float) else value for key, value in asdict(row).items()}
        for row in rows
    ]
