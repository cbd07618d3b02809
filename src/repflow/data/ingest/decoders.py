"""What decodes shards: threads of this process, several processes, or the workers of a cluster."""

import contextlib
import math
import multiprocessing
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Protocol

from repflow.data.ingest.resizing import ImageFormat
from repflow.data.ingest.shards import Shard, decode_shard
from repflow.data.ingest.sources.files import File
from repflow.errors import RepflowError
from repflow.hardware.cpu import usable_cores
from repflow.hardware.processes import end_with_parent, without_interrupts

THREADS = 4
"""Most threads of a process: Python's lock keeps more of them waiting for one another."""


class Decoders(Protocol):
    """Decodes shards, several at a time."""

    @property
    def ahead(self) -> int:
        """How many shards to submit before the result of the first one is asked for."""
        ...

    def submit(self, files: list[File], form: ImageFormat) -> "Future[Shard]":
        """Start to decode a shard."""
        ...

    def result(self, future: "Future[Shard]") -> Shard:
        """Wait for a shard.

        Raises:
            RepflowError: what should decode it has died.
        """
        ...


OpenDecoders = Callable[[int, bool], contextlib.AbstractContextManager[Decoders]]
"""Opens decoders, given the number of shards (0 where it is not known) and whether another process can read the files.
When the `with` block ends, shards that nothing waits for are given up."""


class Pool:
    """Decodes shards in an executor of this machine.

    Args:
        executor: runs `decode_shard`.
        ahead: see `Decoders`.
        threads: of each shard.
    """

    def __init__(self, executor: Executor, ahead: int, threads: int):
        self.ahead = ahead
        self._executor, self._threads = executor, threads

    def submit(self, files: list[File], form: ImageFormat) -> "Future[Shard]":
        """Start to decode a shard."""
        with without_interrupts():  # the executor starts its processes when they are needed
            return self._executor.submit(decode_shard, files, form, self._threads)

    def result(self, future: "Future[Shard]") -> Shard:
        """Wait for a shard."""
        try:
            return future.result()
        except BrokenProcessPool as error:
            raise RepflowError(
                "a process that decodes images was ended, perhaps because memory ran out; run the stage again: what is"
                " decoded is kept"
            ) from error


@contextlib.contextmanager
def local_decoders(shards: int, movable: bool, cores: int | None = None) -> Iterator[Decoders]:
    """Decode on all cores that this process may use: in its own threads where they are few, else in more processes.

    Args:
        shards: how many shards there are; 0 where that is not known.
        movable: whether another process can read the files.
        cores: how many cores to use; by default all that this process may use.
    """
    cores = cores or usable_cores()
    processes = min(math.ceil(cores / THREADS), shards) if movable else 1
    executor: Executor
    if processes > 1:
        context = multiprocessing.get_context("spawn")
        executor = ProcessPoolExecutor(processes, context, initializer=_begin)
        pool = Pool(executor, 2 * processes, math.ceil(cores / processes))
    else:
        executor = ThreadPoolExecutor(1)  # one shard at a time, itself in threads, while another is stored
        pool = Pool(executor, 1, min(cores, 2 * THREADS))
    try:
        yield pool
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


def _begin() -> None:
    """What a process does first."""
    end_with_parent()
    warnings.simplefilter("ignore")  # of unusual but readable files
