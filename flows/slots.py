"""The machine's slots: how many stages run at once, over all runs that one server knows of.

They are Prefect's global concurrency limits `cpu` and `gpu`. `python flows/setup.py` makes them; a stage that asks for
one that is not there fails rather than running without a limit.
"""

import contextvars
import logging
import os
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate, GlobalConcurrencyLimitUpdate
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from processes import Stopped

KINDS = ("cpu", "gpu")


class NoLimit(Exception):
    """The server was not set up."""


class NoServer(RuntimeError):
    """There is no server where one should be, or it takes no orders from here."""


class _Busy(Exception):
    """The server's SQLite has one writer, and somebody else wrote."""


_EVERY = 0.5
"""Seconds between two looks at whether a slot is free."""
_MOMENT = 0.1
"""Seconds until the same is tried again, and that runs beside this one have when it gives a slot back."""
_TRIES = 20
"""Moments in which a server may be busy before that is worth a word."""
_LEASE = 300.0
"""Seconds after which a slot comes back whose run does not say any more that it is there."""

_RENEW = 60.0
"""Seconds between two times that it does."""

_at_once = temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0})
"""Around what is to be told at once of a server that is away: Prefect's client asks six times within two minutes."""

_Log = logging.Logger | logging.LoggerAdapter[Any]


class Slots:
    """Slots of the server for the stages of one run.

    Args:
        stopped: set when the run is over, and no more slots are wanted.
    """

    def __init__(self, stopped: threading.Event):
        self._stopped = stopped
        self._turns: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._given_back: defaultdict[str, threading.Event] = defaultdict(threading.Event)

    @contextmanager
    def one(self, kind: str, log: _Log) -> Iterator[None]:
        """Hold a slot of `kind` for the length of the block.

        A server that does not answer is waited for.

        Raises:
            Stopped: the run was stopped before there was one.
            NoLimit: the server has no such limit.
        """
        with _prompt_client() as client:
            with self._turns[kind]:  # one stage of a run asks, the others queue behind it
                lease = self._take(client, kind, log)
            try:
                with _renewed(lease):
                    yield
            finally:
                _give_back(client, lease, log)
                self._given_back[kind].set()

    @_at_once
    def _take(self, client: SyncPrefectClient, kind: str, log: _Log) -> UUID:
        told, busy = "", 0
        while not self._stopped.is_set():
            try:
                reason = _why_not(client, kind)
                if not reason:
                    answer = client.increment_concurrency_slots_with_lease([kind], 1, "concurrency", _LEASE)
                    return UUID(answer.json()["lease_id"])
            except _Busy:
                busy += 1
                if busy < _TRIES:
                    self._stopped.wait(_MOMENT)
                    continue
                reason = "the server is busy"
            except httpx.HTTPError as error:
                faster = isinstance(error, httpx.HTTPStatusError) and error.response.status_code == httpx.codes.LOCKED
                reason = _taken(kind) if faster else f"the server does not answer ({error})"
            if reason != told:
                log.info("waits: %s", reason)
            told = reason
            if self._given_back[kind].wait(_EVERY):
                self._given_back[kind].clear()
                self._stopped.wait(_MOMENT)
        raise Stopped


@contextmanager
def _prompt_client() -> Iterator[SyncPrefectClient]:
    """Prefect's client, but it says at once that the server is busy, where it would ask again two seconds later.

    SQLite says so when a slot is wanted while what a task did is being written: at every fourth stage or so.
    """

    def hear(response: httpx.Response) -> None:
        if response.status_code == httpx.codes.SERVICE_UNAVAILABLE:
            raise _Busy

    with get_client(sync_client=True, httpx_settings={"event_hooks": {"response": [hear]}}) as client:
        yield client


def _why_not(client: SyncPrefectClient, kind: str) -> str:
    """Why there is no slot at present; nothing where there is one."""
    try:
        limit = client.read_global_concurrency_limit_by_name(kind)
    except ObjectNotFound:
        raise NoLimit(f"the server has no concurrency limit {kind!r}; make it by `python flows/setup.py`") from None
    return "" if limit.active_slots < limit.limit or not limit.active else _taken(kind)


def _taken(kind: str) -> str:
    return f"every {kind} slot is taken"


@contextmanager
def _renewed(lease: UUID) -> Iterator[None]:
    """Say again and again, for the length of the block, that the slot is in use."""
    over = threading.Event()

    def renew() -> None:
        while not over.wait(_RENEW):
            # A training goes on where the server is away for longer than the lease lasts.
            with suppress(httpx.HTTPError), get_client(sync_client=True) as client:
                client.renew_concurrency_lease(lease, _LEASE)

    # Which server it is stands in the context.
    threading.Thread(target=contextvars.copy_context().run, args=(renew,), daemon=True).start()
    try:
        yield
    finally:
        over.set()


@_at_once
def _give_back(client: SyncPrefectClient, lease: UUID, log: _Log) -> None:
    for _ in range(_TRIES):
        try:
            client.release_concurrency_slots_with_lease(lease)
            return
        except _Busy as error:
            reason: Exception = error
            time.sleep(_MOMENT)
        except Exception as error:  # what the stage did counts; the server takes the slot back when the lease is over
            reason = error
            break
    log.warning("the slot could not be given back (%s); it comes back by itself in five minutes", reason)


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
