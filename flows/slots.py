"""The machine's slots: how many stages run at once, over all runs that one server knows of.

They are Prefect's global concurrency limits `cpu` and `gpu`. `python flows/setup.py` makes them; a stage that asks for
one that is not there fails rather than running without a limit.
"""

import logging
import os
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate, GlobalConcurrencyLimitUpdate
from prefect.concurrency.asyncio import ConcurrencySlotAcquisitionError
from prefect.concurrency.sync import concurrency
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL

from processes import Stopped

KINDS = ("cpu", "gpu")


class NoLimit(Exception):
    """The server was not set up."""


class NoServer(RuntimeError):
    """There is no server where one should be, or it takes no orders from here."""


_EVERY = 0.5
"""Seconds between two tries. Prefect's own waits grow with the length of the stages before, and stages last hours."""


class Slots:
    """Slots of the server for the stages of one run.

    Args:
        stopped: set when the run is over, and no more slots are wanted.
    """

    def __init__(self, stopped: threading.Event):
        self._stopped = stopped
        self._turns: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    @contextmanager
    def one(self, kind: str, log: "logging.Logger | logging.LoggerAdapter[Any]") -> Iterator[None]:
        """Hold a slot of `kind` for the length of the block.

        A server that does not answer is waited for.

        Raises:
            Stopped: the run was stopped before there was one.
            NoLimit: the server has no such limit.
        """
        with ExitStack() as held:
            with self._turns[kind]:  # one stage of a run asks, the others queue behind it
                self._take(held, kind, log)
            try:
                yield
            finally:
                _give_back(held, log)

    def _take(self, held: ExitStack, kind: str, log: "logging.Logger | logging.LoggerAdapter[Any]") -> None:
        told = ""
        with get_client(sync_client=True) as client:
            while not self._stopped.is_set():
                # A look first: Prefect logs every slot that it does not get as an error.
                reason = _why_not(client, kind)
                if not reason:
                    try:
                        # A training goes on where the server is away for longer than the lease lasts.
                        slot = concurrency(kind, max_retries=0, strict=True, raise_on_lease_renewal_failure=False)
                        held.enter_context(slot)
                        return
                    except ConcurrencySlotAcquisitionError as error:
                        reason = str(error)  # somebody was faster
                if reason != told:
                    log.info("waits: %s", reason)
                told = reason
                self._stopped.wait(_EVERY)
        raise Stopped


def _why_not(client: SyncPrefectClient, kind: str) -> str:
    """Why there is no slot at present; nothing where there is one."""
    try:
        limit = client.read_global_concurrency_limit_by_name(kind)
    except ObjectNotFound:
        raise NoLimit(f"the server has no concurrency limit {kind!r}; make it by `python flows/setup.py`") from None
    except httpx.HTTPError as error:
        return f"the server does not answer ({error})"
    return "" if limit.active_slots < limit.limit or not limit.active else f"every {kind} slot is taken"


def _give_back(held: ExitStack, log: "logging.Logger | logging.LoggerAdapter[Any]") -> None:
    try:
        held.close()
    except Exception as error:  # what the stage did counts; the server takes the slot back when the lease is over
        log.warning("the slot could not be given back (%s); it comes back by itself in five minutes", error)


def create_limits(limits: Mapping[str, int | None], alone: bool = False) -> None:
    """Make the global concurrency limits on the server.

    Args:
        limits: kind to how many at once; None for this machine's number where the server has no such limit yet, and for
            what it has where there is one.
        alone: whether nothing else can be at work on the server, so that a slot that is taken was left by a killed run.

    Raises:
        NoServer: it does not answer, or refuses.
    """
    with _spoken_to(), get_client(sync_client=True) as client:
        for name, limit in limits.items():
            wanted = GlobalConcurrencyLimitUpdate.model_validate(
                {**({"limit": limit} if limit is not None else {}), **({"active_slots": 0} if alone else {})}
            )
            try:
                client.read_global_concurrency_limit_by_name(name)
            except ObjectNotFound:
                own = processors() if name == "cpu" else 1  # a training takes the whole of one GPU
                client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=name, limit=limit or own))
            else:
                if wanted.model_fields_set:
                    client.update_global_concurrency_limit(name, wanted)


@contextmanager
def _spoken_to() -> Iterator[None]:
    """What a server that does not answer, or refuses, means to the user."""
    url = PREFECT_API_URL.value() or "the server"
    try:
        yield
    except httpx.HTTPStatusError as error:
        if error.response.status_code not in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            raise
        raise NoServer(
            f"{url} refuses ({error.response.reason_phrase}); set PREFECT_API_AUTH_STRING to its user:password"
        ) from error
    except httpx.TransportError as error:
        raise NoServer(
            f"{url}: no Prefect server answers there ({error}); start it (make ui), or unset PREFECT_API_URL for one"
            " that lasts as long as the run"
        ) from error


def processors() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
