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
    """What was spent so far, by this process and by those that it goes on from.

    Attributes:
        steps: of the optimiser.
        images: seen, of all streams.
        flops: floating-point operations of all steps; see `Meter.counting`.
        step_flops: of one step, None before one was counted.
        seconds: since the meters were made.
        training_seconds: from the first batch to the end of the last step.
        waiting_seconds: the part of it that went by until the batches were there.
        memory: the most that a process held at once, resident, in bytes.
        gpu_memory: the most that tensors took at once on this process's GPU, in bytes; None where it used none.
        energy: in kWh; None where nobody measures.
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
    """Follows one training. The trainer tells it of batches and steps; none of it touches what is computed.

    Args:
        energy: gives the kWh that this process has used so far, or None.
    """

    def __init__(self, energy: Callable[[], float | None] = lambda: None):
        self._energy = energy
        self._spent = Cost()
        self._began = time.monotonic()
        self._mark: float | None = None

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Around the lines that fetch a step's batches."""
        began = time.monotonic()
        if self._mark is None:
            self._mark = began
        yield
        self._spent.waiting_seconds += time.monotonic() - began

    @contextlib.contextmanager
    def counting(self) -> Iterator[None]:
        """Around a step's losses and their gradients; counts the operations of the first step, which stand for all.

        PyTorch's counter knows matrix products, convolutions and attention, forward and backward, two operations for a
        multiplication with its addition. Nothing else counts: no elementwise operation, normalisation or pooling, and
        so next to nothing of augmentation and optimiser. It goes by shapes, so machines and threads do not change it.
        """
        if self._spent.step_flops is not None:
            yield
            return
        from torch.utils.flop_counter import FlopCounterMode

        with FlopCounterMode(display=False) as counter:
            yield
        self._spent.step_flops = counter.get_total_flops()

    def stepped(self, images: int, processes: int = 1) -> None:
        """A step is done: it saw `images` images, of which each of so many processes had the same share."""
        now = time.monotonic()
        self._spent.training_seconds += 0.0 if self._mark is None else now - self._mark
        self._mark = now
        self._spent.steps += 1
        self._spent.images += images
        self._spent.flops += (self._spent.step_flops or 0) * processes

    def cost(self) -> Cost:
        """What was spent so far."""
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
        """Go on from the `state` of the process that was killed: its cost is added to this one's."""
        self._spent = Cost(**state)

    def add(self, state: Mapping[str, Any]) -> None:
        """Add a training that ran in a process of its own while this meter's clock went on, by its meter's `state`."""
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
    """The most that this process held resident at once, in bytes."""
    # Linux passes a parent's maximum on to its children in getrusage, and the parent may have been the larger one.
    with contextlib.suppress(OSError):
        found = re.search(r"^VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"), re.MULTILINE)
        if found:
            return int(found[1]) * 1024
    import resource
    import sys

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def peak_gpu_memory() -> int | None:
    """The most that tensors took at once on this process's GPU, in bytes; None where it used none."""
    import torch

    return torch.cuda.max_memory_allocated() if torch.cuda.is_initialized() else None
