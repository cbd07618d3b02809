"""Profile of a SimCLR training step, in repflow's trainer and in its augmentation."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from repflow.augment.policy import Policy
from repflow.data.read.batches import Batch, Stream, as_float
from repflow.methods.pretext.simclr import SimCLR
from repflow.randomness.draws import Draw
from speed import ours
from speed.images import Images
from speed.race import WARM, Clock
from speed.settings import Settings
from speed.simclr import batch_size
from speed.spreads import rounded

OWN = "trainer and the rest"


class Marks:
    """Adds up the time between marks.

    Args:
        device: device that is synchronised at every mark.
    """

    def __init__(self, device: str):
        self._device, self._last = device, 0.0
        self.seconds: dict[str, float] = defaultdict(float)

    def mark(self, name: str) -> None:
        """Add the time since the last mark to `name`."""
        if self._device == "cuda":
            torch.cuda.synchronize()
        now = time.perf_counter()
        self.seconds[name] += now - self._last
        self._last = now

    def restart(self) -> None:
        """Reset all times."""
        self.seconds.clear()
        self._last = time.perf_counter()

    def shares(self) -> dict[str, float]:
        """Name to share of the time, largest first."""
        total = sum(self.seconds.values())
        ordered = sorted(self.seconds.items(), key=lambda item: -item[1])
        return {name: rounded(seconds / total) for name, seconds in ordered}


class MarkedClock(Clock):
    """A clock that restarts the marks when it starts."""

    def __init__(self, steps: int, marks: Marks):
        super().__init__(steps, "cpu")
        self._marks = marks

    def tick(self) -> None:
        """Count a finished step."""
        super().tick()
        self._marks.mark(OWN)
        if self._done == WARM:
            self._marks.restart()


def measure(settings: Settings, images: Images) -> list[dict[str, Any]]:
    """Shares of a step with every encoder, and shares of the policy `natural.simclr`."""
    profiles = [step_profile(name, settings, images) for name in settings.encoders]
    return [*profiles, policy_profile(settings, images)]


def step_profile(encoder: str, settings: Settings, images: Images) -> dict[str, Any]:
    """Shares of the steps of `repflow.training.train`."""
    marks, size = Marks(settings.device), batch_size(encoder, settings)
    steps, seconds = 2, 0.0
    while True:  # first two steps to measure the rate, then as many as the time allows
        clock = MarkedClock(steps, marks)
        with marked(ours.new_simclr(encoder, images), marks) as method:
            configured = {**ours.read("training", "pretext"), "batch_size": size}
            ours.fit(method, {"unlabelled": images.rows()}, configured, settings, clock)
        if seconds or not settings.seconds:
            break
        seconds = settings.seconds
        steps = max(2, round(seconds * clock.steps_per_second))
    shared = {"batch": size, "threads": settings.threads, "device": settings.device, "size": settings.size}
    return {
        "name": f"SimCLR, {encoder}",
        "settings": shared,
        "milliseconds": rounded(1000 / clock.steps_per_second),
        "shares": marks.shares(),
    }


@contextmanager
def marked(method: SimCLR, marks: Marks) -> Iterator[SimCLR]:
    """Add a mark after every part of a step of `method`."""

    def after(name: str) -> Callable[..., None]:
        return lambda *_: marks.mark(name)

    gather, augment = Stream.at, method.augment

    def at(stream: Stream, step: int, size: int, seed: int) -> Batch:
        marks.mark(OWN)
        batch = gather(stream, step, size, seed)
        marks.mark("gather")
        return batch

    def views(images: Tensor, draw: Draw) -> Tensor:
        marks.mark(OWN)
        changed = augment(images, draw)
        marks.mark("augment")
        return changed

    method.augment = views  # type: ignore[assignment]
    method.encoder.register_forward_pre_hook(after(OWN))
    method.encoder.register_forward_hook(after("encoder, forward"))
    method.nt_xent.register_forward_hook(after("head and loss"))
    hooks = [
        register_optimizer_step_pre_hook(after("backward")),
        register_optimizer_step_post_hook(after("optimiser")),
    ]
    try:
        with patch.object(Stream, "at", at):
            yield method
    finally:
        for hook in hooks:
            hook.remove()


def policy_profile(settings: Settings, images: Images) -> dict[str, Any]:
    """Shares of the operations of `natural.simclr` on one batch, on one thread or on the GPU."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    size, marks = batch_size("small", settings), Marks(settings.device)
    pixels = torch.from_numpy(images.pixels[:size]).to(settings.device)
    operations = [(operation.op, Policy((operation,))) for operation in ours.policy_config("simclr")]
    step, ends = 0, time.perf_counter() + settings.seconds
    while step < WARM + 2 or time.perf_counter() < ends:
        if step == WARM:
            marks.restart()
        views = as_float(pixels)
        marks.mark("as_float")
        for name, policy in operations:
            views = policy(views, Draw(0, name, step, settings.device))
            marks.mark(name)
        step += 1
    torch.set_num_threads(threads)
    whole = 1000 * sum(marks.seconds.values()) / (step - WARM)
    shared = {"batch": size, "threads": 1, "device": settings.device, "size": settings.size}
    return {"name": "natural.simclr", "settings": shared, "milliseconds": rounded(whole), "shares": marks.shares()}
