"""Random numbers for one training step, one row per sample."""

import contextlib
import copy
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import numpy as np
import torch
from torch import Tensor

from repflow.randomness.seeds import derive_seed

OWN_NUMBERS = frozenset({"cuda"})
"""Types of devices that make their random numbers themselves; for all others the CPU makes them."""


class Draw:
    """A random number generator for one training step, determined by (seed, stream name, step).

    Every method takes the number of samples first and returns a tensor with that many rows, on `device`. Numbers are
    drawn in the order of the calls; `stream` opens an independent sequence, so that one component's draws never shift
    another's.

    A sample gets the same numbers however many processes share the batch: of `ranks` processes, process `rank` holds
    every `ranks`-th sample of the global batch and gets every `ranks`-th row of what is drawn for all of them. This
    also holds for several views of a batch concatenated along the batch axis (`torch.cat`), but not for interleaved
    views.

    A CUDA device draws its numbers itself, by a generator that is seeded on the host, so that a step neither copies
    numbers nor waits for any. They are other numbers than the CPU's. PyTorch's kernels divide long tensors by the size
    of the GPU, so that GPUs of different models may draw different numbers; one of them repeats its own.

    Args:
        seed: the run's random seed.
        name: the name of this random stream.
        step: the training step; 0 outside training.
        device: device of the returned tensors. Where it is neither a CPU nor a CUDA device, the numbers are the CPU's.
        rank: index of this process.
        ranks: number of processes that share a batch.
    """

    def __init__(
        self,
        seed: int,
        name: str,
        step: int = 0,
        device: torch.device | str = "cpu",
        *,
        rank: int = 0,
        ranks: int = 1,
    ):
        self.seed, self.name, self.step, self.device = seed, name, step, device
        self.rank, self.ranks = rank, ranks
        # By type of device, as "cuda" and "cuda:0" are the same; shared with copies, which go on in the same order.
        self._generators: dict[str, torch.Generator] = {}
        self._chosen: Tensor | None = None
        self._count = 0

    def stream(self, name: str) -> "Draw":
        """An independent random stream for the same step."""
        return Draw(self.seed, f"{self.name}/{name}", self.step, self.device, rank=self.rank, ranks=self.ranks)

    def to(self, device: torch.device | str) -> "Draw":
        """The same random stream, with tensors on another device; where that one draws itself, with its numbers."""
        moved = copy.copy(self)
        moved.device = device
        return moved

    def subset(self, chosen: Tensor, count: int) -> "Draw":
        """The same random stream for a subset of `count` samples; each sample keeps the numbers it has in the full set.

        Args:
            chosen: indices of the samples, int64 [n].
            count: number of all samples.
        """
        part = copy.copy(self)
        chosen = chosen.to(self._source, non_blocking=self._source.type != "cpu")
        part._chosen = chosen if self._chosen is None else self._chosen[chosen]
        part._count = count if self._chosen is None else self._count
        return part

    def uniform(self, count: int, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        """Uniform numbers in [low, high): [count, *shape]."""
        drawn = self._rows(count, lambda rows: torch.rand(rows, *shape, **self._by))
        return low + (high - low) * drawn

    def normal(self, count: int, *shape: int) -> Tensor:
        """Standard normal numbers: [count, *shape]."""
        return self._rows(count, lambda rows: torch.randn(rows, *shape, **self._by))

    def integers(self, count: int, *shape: int, low: int = 0, high: int) -> Tensor:
        """Uniform integers from low to high - 1: int64 [count, *shape]."""
        return self._rows(count, lambda rows: torch.randint(low, high, (rows, *shape), **self._by))

    def bernoulli(self, count: int, probability: float) -> Tensor:
        """True with probability `probability`: bool [count]."""
        return self.uniform(count) < probability

    def beta(self, count: int, alpha: float) -> Tensor:
        """Samples from Beta(alpha, alpha): [count]."""

        def on_cpu(rows: int) -> Tensor:
            generator = np.random.Generator(np.random.PCG64(self._integer()))
            return torch.from_numpy(generator.beta(alpha, alpha, rows).astype(np.float32))

        def on_device(rows: int) -> Tensor:
            # X / (X + Y) of two samples of Gamma(alpha), each Gamma(alpha + 1) times uniform ** (1 / alpha). By their
            # logarithms: with a small alpha both are often too small for float32.
            larger = torch._standard_gamma(
                torch.full((2, rows), alpha + 1.0, device=self._source), generator=self._by["generator"]
            )
            logarithms = larger.log() + (1 - torch.rand(2, rows, **self._by)).log() / alpha
            return torch.sigmoid(logarithms[0] - logarithms[1])

        return self._rows(count, on_device if self._source.type in OWN_NUMBERS else on_cpu)

    def permutation(self, count: int) -> Tensor:
        """A random permutation of range(count), the same in every process: int64 [count]."""
        return torch.randperm(count, **self._by).to(self.device, non_blocking=True)

    def _rows(self, count: int, make: Callable[[int], Tensor]) -> Tensor:
        """Draw for the samples of all processes, then keep the rows of this process and subset."""
        drawn = make((count if self._chosen is None else self._count) * self.ranks)
        if self.ranks > 1:
            drawn = drawn[self.rank :: self.ranks]
        if self._chosen is not None:
            drawn = drawn[self._chosen]
        return drawn.to(self.device, non_blocking=True)  # the step must not wait for the GPU

    @property
    def _source(self) -> torch.device:
        """Where the numbers are made."""
        device = torch.device(self.device)
        return device if device.type in OWN_NUMBERS else torch.device("cpu")

    @property
    def _by(self) -> dict[str, Any]:
        """Arguments of PyTorch's random functions: the device, and its generator, seeded when it is first needed."""
        source = self._source
        if source.type not in self._generators:
            seed = derive_seed(self.seed, self.name, self.step)
            self._generators[source.type] = torch.Generator(source).manual_seed(seed)
        return {"generator": self._generators[source.type], "device": source}

    def _integer(self) -> int:
        return int(torch.randint(0, 2**62, (), **self._by))


_LAYERS: ContextVar[Draw] = ContextVar("layers")


@contextlib.contextmanager
def use_layer_draw(draw: Draw) -> Iterator[None]:
    """Inside the block, layers with random masks, such as dropout, draw their numbers from `draw`."""
    token = _LAYERS.set(draw)
    try:
        yield
    finally:
        _LAYERS.reset(token)


def layer_draw() -> Draw:
    """The `Draw` from which a layer takes its random numbers.

    Raises:
        LookupError: outside `use_layer_draw`.
    """
    return _LAYERS.get()


@contextlib.contextmanager
def seeded(seed: int, stream: str, step: int = 0) -> Iterator[None]:
    """Seed PyTorch's global generator with (seed, stream, step) inside the block; its state is restored afterwards."""
    with torch.random.fork_rng():
        torch.manual_seed(derive_seed(seed, stream, step))
        yield
