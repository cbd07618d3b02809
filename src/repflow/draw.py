"""The random numbers of one step of learning, one row per sample."""

import contextlib
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from repflow.randomness import derive


class Draw:
    """The random numbers of one step, one row per sample.

    Every method takes the number of samples first and returns a tensor with that many rows, on `device`. Numbers come
    in the order in which they are asked for; `stream` opens an independent sequence, so that one part's draws never
    shift another's.

    Args:
        seed: the run's seed.
        name: the name of this stream of draws.
        step: the step of training, or 0 where there is none.
        device: where the tensors are wanted. The numbers are drawn on the CPU and are the same on every device.
    """

    def __init__(self, seed: int, name: str, step: int = 0, device: torch.device | str = "cpu"):
        self.seed, self.name, self.step, self.device = seed, name, step, device
        self._generator = torch.Generator().manual_seed(derive(seed, name, step))

    def stream(self, name: str) -> "Draw":
        """An independent sequence of draws for the same step."""
        return Draw(self.seed, f"{self.name}/{name}", self.step, self.device)

    def uniform(self, count: int, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        """Numbers from [low, high): [count, *shape]."""
        drawn = torch.rand(count, *shape, generator=self._generator)
        return (low + (high - low) * drawn).to(self.device)

    def normal(self, count: int, *shape: int) -> Tensor:
        """Numbers from the standard normal distribution: [count, *shape]."""
        return torch.randn(count, *shape, generator=self._generator).to(self.device)

    def integers(self, count: int, *shape: int, low: int = 0, high: int) -> Tensor:
        """Whole numbers from low to high - 1: int64 [count, *shape]."""
        return torch.randint(low, high, (count, *shape), generator=self._generator).to(self.device)

    def chance(self, count: int, probability: float) -> Tensor:
        """True with the given probability: bool [count]."""
        return self.uniform(count) < probability

    def order(self, count: int) -> Tensor:
        """A random order of `count` things: int64 [count]."""
        return torch.randperm(count, generator=self._generator).to(self.device)

    def beta(self, count: int, alpha: float) -> Tensor:
        """Numbers from Beta(alpha, alpha): [count]."""
        numbers = np.random.Generator(np.random.PCG64(self._torch_integer())).beta(alpha, alpha, count)
        return torch.from_numpy(numbers.astype(np.float32)).to(self.device)

    def _torch_integer(self) -> int:
        return int(torch.randint(0, 2**62, (), generator=self._generator))


@contextlib.contextmanager
def seeded(seed: int, stream: str, step: int = 0) -> Iterator[None]:
    """PyTorch's global generator draws from (seed, stream, step) inside the block and is restored after it."""
    with torch.random.fork_rng():
        torch.manual_seed(derive(seed, stream, step))
        yield
