"""The random numbers of one step of learning, one row per sample."""

import contextlib
import copy
from collections.abc import Callable, Iterator
from contextvars import ContextVar

import numpy as np
import torch
from torch import Tensor

from repflow.randomness.seeds import derive


class Draw:
    """The random numbers of one step, one row per sample.

    Every method takes the number of samples first and returns a tensor with that many rows, on `device`. Numbers come
    in the order in which they are asked for; `stream` opens an independent sequence, so that one part's draws never
    shift another's.

    A sample keeps its numbers whatever the number of processes: of `ranks` processes, the one of number `rank` holds
    every `ranks`-th sample of the common batch, and gets every `ranks`-th row of what is drawn for all of them. That
    holds for several views of a batch too, one below the other (`torch.cat`), but not for views that alternate.

    Args:
        seed: the run's seed.
        name: the name of this stream of draws.
        step: the step of training, or 0 where there is none.
        device: where the tensors are wanted. The numbers are drawn on the CPU and are the same on every device.
        rank: number of this process.
        ranks: how many processes share a batch.
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
        self._generator = torch.Generator().manual_seed(derive(seed, name, step))
        self._chosen: Tensor | None = None
        self._count = 0

    def stream(self, name: str) -> "Draw":
        """An independent sequence of draws for the same step."""
        return Draw(self.seed, f"{self.name}/{name}", self.step, self.device, rank=self.rank, ranks=self.ranks)

    def on(self, device: torch.device | str) -> "Draw":
        """The same sequence, its tensors on another device."""
        moved = copy.copy(self)
        moved.device = device
        return moved

    def among(self, chosen: Tensor, count: int) -> "Draw":
        """The same sequence for some of `count` samples, each of which keeps the numbers that it has among all.

        Args:
            chosen: positions of the samples, int64 [n].
            count: of all samples.
        """
        some = copy.copy(self)
        some._chosen = chosen.cpu() if self._chosen is None else self._chosen[chosen.cpu()]
        some._count = count if self._chosen is None else self._count
        return some

    def uniform(self, count: int, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        """Numbers from [low, high): [count, *shape]."""
        drawn = self._rows(count, lambda rows: torch.rand(rows, *shape, generator=self._generator))
        return low + (high - low) * drawn

    def normal(self, count: int, *shape: int) -> Tensor:
        """Numbers from the standard normal distribution: [count, *shape]."""
        return self._rows(count, lambda rows: torch.randn(rows, *shape, generator=self._generator))

    def integers(self, count: int, *shape: int, low: int = 0, high: int) -> Tensor:
        """Whole numbers from low to high - 1: int64 [count, *shape]."""
        return self._rows(count, lambda rows: torch.randint(low, high, (rows, *shape), generator=self._generator))

    def chance(self, count: int, probability: float) -> Tensor:
        """True with the given probability: bool [count]."""
        return self.uniform(count) < probability

    def beta(self, count: int, alpha: float) -> Tensor:
        """Numbers from Beta(alpha, alpha): [count]."""

        def make(rows: int) -> Tensor:
            generator = np.random.Generator(np.random.PCG64(self._integer()))
            return torch.from_numpy(generator.beta(alpha, alpha, rows).astype(np.float32))

        return self._rows(count, make)

    def order(self, count: int) -> Tensor:
        """A random order of `count` things, the same one in every process: int64 [count]."""
        return torch.randperm(count, generator=self._generator).to(self.device)

    def _rows(self, count: int, make: Callable[[int], Tensor]) -> Tensor:
        """Draw for the samples of all processes, and take those that are meant."""
        drawn = make((count if self._chosen is None else self._count) * self.ranks)
        if self.ranks > 1:
            drawn = drawn[self.rank :: self.ranks]
        if self._chosen is not None:
            drawn = drawn[self._chosen]
        return drawn.to(self.device)

    def _integer(self) -> int:
        return int(torch.randint(0, 2**62, (), generator=self._generator))


_LAYERS: ContextVar[Draw] = ContextVar("layers")


@contextlib.contextmanager
def layers_draw_from(draw: Draw) -> Iterator[None]:
    """Layers that draw in their `forward`, such as dropout, take their numbers from `draw` inside the block."""
    token = _LAYERS.set(draw)
    try:
        yield
    finally:
        _LAYERS.reset(token)


def layers_draw() -> Draw:
    """Where a layer takes its numbers from.

    Raises:
        LookupError: outside `layers_draw_from`.
    """
    return _LAYERS.get()


@contextlib.contextmanager
def seeded(seed: int, stream: str, step: int = 0) -> Iterator[None]:
    """PyTorch's global generator draws from (seed, stream, step) inside the block and is restored after it."""
    with torch.random.fork_rng():
        torch.manual_seed(derive(seed, stream, step))
        yield
