"""Shards as tasks of a Dask cluster: the one that REPFLOW_DASK names, as for the search (docs/flows.md)."""

import contextlib
import functools
import logging
import os
import time
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any, cast

from repflow.data.ingest.decoders import Decoders, OpenDecoders, local_decoders
from repflow.data.ingest.resizing import ImageFormat
from repflow.data.ingest.shards import Shard, decode_shard, decoding_version
from repflow.data.ingest.sources.files import File
from repflow.errors import ParameterError, RepflowError
from repflow.hardware.cpu import usable_cores

_POLL_SECONDS = 10.0
"""Between two checks of whether the cluster still has workers."""

_WORKERS_TIMEOUT = 120.0
"""Seconds that it may have none."""

NOT_READ = ("no such file", "not a file", "cannot be read", "damaged inside the archive: [Errno")
"""How the reason begins where a file could not be read, which is another matter than what it contains."""

log = logging.getLogger("repflow")


def chosen_decoders() -> OpenDecoders:
    """The cluster that REPFLOW_DASK names, or this machine."""
    address = os.environ.get("REPFLOW_DASK")
    return functools.partial(dask_decoders, address) if address else local_decoders


def decode_there(version: str, files: list[File], form: ImageFormat) -> Shard:
    """`decode_shard` on a worker, which may be on another machine.

    Raises:
        RepflowError: the worker has other code or libraries than the process that asks.
    """
    if decoding_version() != version:
        raise RepflowError(
            f"{os.uname().nodename}: code or libraries of the worker differ from those of `ingest`; the workers of a"
            " cluster need the same checkout at the same path with the same packages"
        )
    return decode_shard(files, form, 1)


class DaskDecoders:
    """Decodes each shard as a task; Dask runs one again on another worker where its worker died.

    Args:
        client: of the cluster, an instance of `distributed.Client`.
    """

    def __init__(self, client: Any):
        self._client = client
        self._executor = client.get_executor(pure=False)
        self._asked: dict[Future[Shard], tuple[list[File], ImageFormat]] = {}

    @property
    def ahead(self) -> int:
        """Two shards for each thread of the cluster."""
        threads: int = sum(self._client.nthreads().values())
        return 2 * max(1, threads)

    def submit(self, files: list[File], form: ImageFormat) -> "Future[Shard]":
        """Start to decode a shard."""
        started: Future[Shard] = self._executor.submit(decode_there, decoding_version(), files, form)
        self._asked[started] = files, form
        return started

    def result(self, future: "Future[Shard]") -> Shard:
        """Wait for a shard, and decode it here where its worker could not read a file: perhaps this machine can."""
        shard = self._awaited(future)
        files, form = self._asked.pop(future)
        unread = shard.rows["reason"].astype("string").str.startswith(NOT_READ, na=False)
        if not unread.any():
            return shard
        first = shard.rows[unread].iloc[0]
        log.warning("REPFLOW_DASK: a worker could not read %s: %s; trying here", first["path"], first["reason"])
        return decode_shard(files, form, usable_cores())

    def _awaited(self, future: "Future[Shard]") -> Shard:
        """Wait for a shard; Dask itself would wait forever for a cluster that has lost all its workers."""
        last_seen = time.monotonic()
        while True:
            try:
                return future.result(timeout=_POLL_SECONDS)
            except TimeoutError:
                if self._client.nthreads():
                    last_seen = time.monotonic()
            except RepflowError:
                raise
            except Exception as error:
                raise RepflowError(
                    f"a shard on Dask: {error or type(error).__name__}; run the stage again: what is decoded is kept"
                ) from error
            if time.monotonic() - last_seen > _WORKERS_TIMEOUT:
                raise RepflowError(f"the cluster has had no workers for {_WORKERS_TIMEOUT:.0f} s; see their logs")


@contextlib.contextmanager
def dask_decoders(address: str, shards: int, movable: bool) -> Iterator[Decoders]:
    """Decode on a Dask cluster, whose workers see the files of the source at the same place.

    Args:
        address: of its scheduler, as in "tcp://10.0.0.1:8786".
        shards: how many shards there are; 0 where that is not known.
        movable: whether another process can read the files; those of a tar are decoded here.

    Raises:
        ParameterError: there is no such cluster, or Dask is not installed.
    """
    if not movable:
        log.info("REPFLOW_DASK: files that are read in turn, as those of a tar, are decoded by this machine")
        with local_decoders(shards, movable) as decoders:
            yield decoders
        return
    try:
        import distributed

        client: Any = cast(Any, distributed).Client(address, set_as_default=False)
    except ImportError as error:
        raise ParameterError("REPFLOW_DASK: needs the extra `dask`: pip install 'repflow[dask]'") from error
    except (OSError, ValueError) as error:
        raise ParameterError(
            f"REPFLOW_DASK: {address}: no Dask scheduler there ({error}); start it, or unset"
        ) from error
    try:
        yield DaskDecoders(client)
    finally:
        client.close()
