"""What a training costs: images, floating-point operations, time, waiting for data, memory, energy."""

import contextlib
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T", int, float)


@dataclass
class Cost:
    """The cost so far, of this process and of the interrupted ones that it resumes.

    Attributes:
        steps: training steps.
        images: training images processed, over all streams.
        flops: floating-point operations of all steps; see `Meter.counting_flops`.
        step_flops: of one step; None before the first step.
        seconds: wall-clock time since the creation of the meters.
        training_seconds: from the first batch to the end of the last step.
        waiting_seconds: the part of `training_seconds` spent waiting for batches.
        memory: peak resident memory of a process, in bytes.
        gpu_memory: peak GPU memory allocated by PyTorch in this process, in bytes; None without a GPU.
        energy: in kWh; None if not measured.
    """

    steps: int = 0
    images: int = 0
    flops: int = 0
    step_flops: int | None = None
    seconds: float = 0.0
    training_seconds: float = 0.0
    waiting_seconds: float = 0.0
    memory: int = 0
    gpu_memory: int | None = None
    energy: float | None = None


class Meter:
    """Measures the cost of one training. The training loop calls it; it does not change what is computed.

    Args:
        energy: returns the energy that this process has used so far in kWh, or None.
    """

    def __init__(self, energy: Callable[[], float | None] = lambda: None):
        self._energy = energy
        self._spent = Cost()
        self._began = time.monotonic()
        self._mark: float | None = None

    @contextlib.contextmanager
    def waiting_for_data(self) -> Iterator[None]:
        """A context manager around the loading of a step's batches; measures the waiting time."""
        began = time.monotonic()
        if self._mark is None:
            self._mark = began
        yield
        self._spent.waiting_seconds += time.monotonic() - began

    @contextlib.contextmanager
    def counting_flops(self) -> Iterator[None]:
        """A context manager around forward and backward pass; counts the FLOPs of the first step, assumed for all.

        PyTorch's `FlopCounterMode` counts matrix products, convolutions and attention, forward and backward, with two
        operations per multiply-add. Elementwise operations, normalisation and pooling are not counted, and so next to
        nothing of augmentation and optimiser. The count depends on tensor shapes only, not on the machine.
        """
        if self._spent.step_flops is not None:
            yield
            return
        from torch.utils.flop_counter import FlopCounterMode

        with FlopCounterMode(display=False) as counter:
            yield
        self._spent.step_flops = counter.get_total_flops()

    def count_step(self, images: int, processes: int = 1) -> None:
        """Record a completed step of `images` images, divided evenly among `processes` processes."""
        now = time.monotonic()
        self._spent.training_seconds += 0.0 if self._mark is None else now - self._mark
        self._mark = now
        self._spent.steps += 1
        self._spent.images += images
        self._spent.flops += (self._spent.step_flops or 0) * processes

    def cost(self) -> Cost:
        """The cost so far."""
        spent = self._spent
        return replace(
            spent,
            seconds=spent.seconds + time.monotonic() - self._began,
            memory=max(spent.memory, peak_memory()),
            gpu_memory=max(_known(spent.gpu_memory, peak_gpu_memory()), default=None),
            energy=sum(known) if (known := _known(spent.energy, self._energy())) else None,
        )

    def state(self) -> dict[str, Any]:
        """The cost so far as plain JSON, for a checkpoint."""
        return asdict(self.cost())

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from the `state` of an interrupted process: its cost is added to this one's."""
        self._spent = Cost(**state)

    def add(self, state: Mapping[str, Any]) -> None:
        """Add the `state` of the meter of another process that trained while this meter was running."""
        other, spent = Cost(**state), self._spent
        spent.steps += other.steps
        spent.images += other.images
        spent.flops += other.flops
        spent.training_seconds += other.training_seconds
        spent.waiting_seconds += other.waiting_seconds
        spent.memory = max(spent.memory, other.memory)
        spent.gpu_memory = max(_known(spent.gpu_memory, other.gpu_memory), default=None)


def _known(*numbers: T | None) -> list[T]:
    return [number for number in numbers if number is not None]


def peak_memory() -> int:
    """Peak resident memory of this process, in bytes."""
    # On Linux getrusage starts from the parent's maximum, which may be larger than this process's own.
    with contextlib.suppress(OSError):
        found = re.search(r"^VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"), re.MULTILINE)
        if found:
            return int(found[1]) * 1024
    import resource
    import sys

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def peak_gpu_memory() -> int | None:
    """Peak GPU memory allocated by PyTorch in this process, in bytes; None without a GPU."""
    import torch

    return torch.cuda.max_memory_allocated() if torch.cuda.is_initialized() else None
