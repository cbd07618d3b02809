"""Times a few real steps of a training on random images, in a process of its own.

Its own process makes its memory known, and a training for which there is not enough memory ends only that.
"""

import contextlib
import dataclasses
import multiprocessing
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import pandas as pd
import torch

from repflow.data.read.rows import Domain, Rows
from repflow.data.store import NO_LABEL, Store
from repflow.encoders.encoder import normalise_by
from repflow.errors import RepflowError
from repflow.hardware.devices import prepare, wait_for
from repflow.hardware.processes import end_with_parent, without_interrupts
from repflow.methods.registry import FAMILIES
from repflow.randomness.draws import seeded
from repflow.stages.initial_model import describe
from repflow.stages.learning import Recipe, accuracy_on
from repflow.training import train
from repflow.training.cost import Meter, peak_gpu_memory, peak_memory

T = TypeVar("T")

STEPS = 20
"""Steps that are timed at most, after the first one."""
SECONDS = 1.5
"""No further step begins after so many seconds, except the first that is timed."""
_IMAGES = 2048
"""Random images of a stream at most."""
_VALIDATED = 256
"""Images of a timed validation at most."""


@dataclass(frozen=True)
class Measured:
    """What was measured.

    Attributes:
        step: seconds of a training step.
        fitting: seconds of a training without steps: what its method fits to all its images.
        image: seconds for the prediction of an image.
        memory: peak resident memory in bytes, with few images in it.
        gpu_memory: peak GPU memory in bytes; None without a GPU.
        images: bytes of the images in it.
        weights: bytes of the model that is kept.
    """

    step: float
    fitting: float
    image: float
    memory: int
    gpu_memory: int | None
    images: int
    weights: int


class Timer:
    """Times trainings one after another, each in a new process that is forked from one that has imported everything.

    Attributes:
        start: seconds that Python and the imports of a stage take.
    """

    def __init__(self) -> None:
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([__name__])
        began = time.monotonic()
        self._run(time.monotonic)
        self.start = time.monotonic() - began

    def measure(
        self, title: str, recipe: Recipe, images: Mapping[str, int], classes: tuple[str, ...], channels: int, size: int
    ) -> Measured:
        """Time a training.

        Args:
            title: its stage, for messages.
            recipe: with its number of steps.
            images: number of images of each stream of the method.
            classes: names of the classes.
            channels: of the images, 1 or 3.
            size: height and width of the images in pixels.

        Raises:
            RepflowError: the process died, as it does where memory runs out.
        """
        try:
            return self._run(_measure, recipe, images, classes, channels, size)
        except BrokenProcessPool as error:
            raise RepflowError(
                f"{title}: the process that timed it died, perhaps because memory ran out; lower training.batch_size"
            ) from error

    def _run(self, function: Callable[..., T], *arguments: object) -> T:
        with without_interrupts():
            pool = ProcessPoolExecutor(1, self._context, initializer=end_with_parent)
            future = pool.submit(function, *arguments)
        with pool:
            result: T = future.result()
            return result


class _Enough(Exception):
    pass


class _Stopwatch(Meter):
    """Ends a training after a few steps, and knows how long these took."""

    def __init__(self, device: torch.device):
        super().__init__()
        self._device, self._steps = device, 0
        self._first = self._last = self._created = time.monotonic()

    def count_step(self, images: int, processes: int = 1) -> None:
        super().count_step(images, processes)
        wait_for(self._device)
        self._last = time.monotonic()
        if not self._steps:
            self._first = self._last
        self._steps += 1
        if self._steps > STEPS or (self._steps > 1 and self._last - self._first > SECONDS):
            raise _Enough

    @property
    def seconds(self) -> float:
        """Of a step."""
        return (self._last - self._first) / (self._steps - 1) if self._steps > 1 else self._last - self._created


def _measure(recipe: Recipe, images: Mapping[str, int], classes: tuple[str, ...], channels: int, size: int) -> Measured:
    ranks = recipe.hardware.devices * recipe.hardware.nodes
    training = recipe.section.training
    alone = dataclasses.replace(training, batch_size=max(1, training.batch_size // ranks))
    hardware = dataclasses.replace(recipe.hardware, devices=1, nodes=1)
    rows = {name: _random_rows(count, classes, channels, size, name) for name, count in images.items()}
    some = next(iter(rows.values()))
    is_encoder = FAMILIES[recipe.section.family] == "pretrain"
    domain = Domain("source", Store(np.asarray(some.images), pd.DataFrame(), classes), np.array([]), classes)
    description = describe(recipe, domain, () if is_encoder else classes)
    with seeded(recipe.seed, "weights/encoder"):
        encoder = description.new_encoder()  # weights that others trained take as long as random ones
    normalise_by(encoder, some.images)
    with seeded(recipe.seed, "weights/method"):
        method = recipe.method(recipe.settings, encoder if is_encoder else description.new_classifier(encoder))
    fabric = prepare(hardware, updates=len(method.updates))
    watch = _Stopwatch(fabric.device)
    began = time.monotonic()
    with contextlib.suppress(_Enough):
        train(method, rows, alone, fabric, seed=recipe.seed, compile=hardware.compile, meter=watch, silent=True)
    timed = sum(map(len, rows.values()))
    fitting = 0.0 if training.steps else (time.monotonic() - began) * max(1.0, sum(images.values()) / timed)
    validated = Rows(some.images[:_VALIDATED], some.labels[:_VALIDATED], some.index[:_VALIDATED], classes)
    learned = method.learned.eval().to(fabric.device).float()
    began = time.monotonic()
    accuracy_on(learned, validated, fabric.device)
    return Measured(
        step=watch.seconds,
        fitting=fitting,
        image=(time.monotonic() - began) / len(validated),
        memory=peak_memory(),
        gpu_memory=peak_gpu_memory(),
        images=sum(each.images.nbytes for each in rows.values()),
        weights=sum(each.numel() * each.element_size() for each in method.learned.state_dict().values()),
    )


def _random_rows(count: int, classes: tuple[str, ...], channels: int, size: int, stream: str) -> Rows:
    count = min(count, _IMAGES)
    generator = np.random.default_rng(count)
    images = generator.integers(0, 256, (count, channels, size, size), np.uint8)
    labels = np.arange(count) % max(1, len(classes))
    if stream == "unlabelled":
        labels = np.full(count, NO_LABEL)
    return Rows(images, labels.astype(np.int64), np.arange(count), classes)
