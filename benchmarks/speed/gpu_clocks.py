"""Clocks of trainings on a GPU that also look at its kernels, or at who waits for it."""

import time
from collections.abc import Callable
from typing import Any

import torch

from speed.race import WARM, Clock


def covered(spans: list[tuple[float, float]]) -> float:
    """The length of the union of intervals: kernels on several streams overlap."""
    total, end = 0.0, float("-inf")
    for start, stop in sorted(spans):
        total += max(0.0, stop - max(start, end))
        end = max(end, stop)
    return total


class Window(Clock):
    """Twenty steps after the warm-up, under a profiler."""

    count = 20

    def __init__(self, synchronise: Callable[[], None], measured: Any):
        super().__init__(self.count, "cpu")
        self._synchronise, self.measured, self.microseconds = synchronise, measured, 0.0

    def tick(self) -> None:
        """Begin after the warm-up, end after the last step."""
        super().tick()
        if self._done == WARM:
            self._synchronise()
            self.measured.__enter__()
            self._began = time.perf_counter()
        if self._done == self.total:
            self._synchronise()
            self.microseconds = 1e6 * (time.perf_counter() - self._began)
            self.measured.__exit__(None, None, None)


class Strict(Clock):
    """Ten steps after the warm-up, in which waiting for the GPU is an error."""

    def __init__(self, device: str):
        super().__init__(10, "cpu")  # the clock's own waiting would be an error, too
        self._kind = device

    def tick(self) -> None:
        """Switch the check on after the warm-up, and off after the last step."""
        super().tick()
        if self._kind == "cuda" and self._done in (WARM, self.total):
            torch.cuda.set_sync_debug_mode("error" if self._done == WARM else "default")
