"""Concurrency slots: how many stages run at once, over all flow runs of one Prefect server.

They are slots of Prefect's global concurrency limits `cpu` and `gpu`, which `python flows/setup.py` creates. A stage
whose limit does not exist fails; it does not run without a limit.

Prefect's own `prefect.concurrency.sync.concurrency` does the same up to version 3.9.1, except that it

- waits two seconds whenever SQLite is busy, which it is at nearly every stage: acquiring a free slot took 2.1 s rather
  than 0.4 s;
- cannot be interrupted while it waits for a slot, so that a cancelled run would not end;
- fails a task whose stage has succeeded where the server does not answer when the slot is released, and stops renewing
  a lease after three failures, so that a training that goes on while the server restarts loses its slot.
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

LIMITS = ("cpu", "gpu")
"""Names of the global concurrency limits."""


class MissingLimit(Exception):
    """The server has no such concurrency limit."""


class ServerUnavailable(RuntimeError):
    """No Prefect server answers, or it refuses the credentials."""


class _DatabaseBusy(Exception):
    """The server answered 503: its SQLite database allows one writer at a time."""


_POLL_SECONDS = 0.5
"""Between two requests for a slot while none is free."""

_RETRY_SECONDS = 0.1
"""Before a request is repeated that found the database busy, and before a run takes a slot again that it has released,
so that other runs have a chance."""

_MAX_RETRIES = 20
"""Requests that may find the database busy before that is logged."""

_LEASE_SECONDS = 300.0
"""After which the server takes a slot back whose lease is not renewed."""

_RENEWAL_SECONDS = 60.0
"""Between two renewals of a lease."""

_without_retries = temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0})
"""Decorates what handles a server that does not answer itself: Prefect's client repeats a request for two minutes."""

_Log = logging.Logger | logging.LoggerAdapter[Any]


class ConcurrencySlots:
    """Acquires concurrency slots for the stages of one flow run; safe to call from several threads.

    Args:
        stopped: set when the flow run ends, so that no more slots are waited for.
    """

    def __init__(self, stopped: threading.Event):
        self._stopped = stopped
        self._turns: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._released: defaultdict[str, threading.Event] = defaultdict(threading.Event)

    @contextmanager
    def hold(self, limit: str, log: _Log) -> Iterator[None]:
        """Occupy one slot of `limit` for the length of the block, and wait until there is one.

        It also waits for a server that does not answer.

        Args:
            limit: the name of a global concurrency limit.
            log: says what is waited for.

        Raises:
            Stopped: the flow run was stopped before there was a slot.
            MissingLimit: the server has no such limit.
        """
        with _client() as client:
            with self._turns[limit]:  # one stage of a run polls, the others queue behind it
                lease = self._acquire(client, limit, log)
            try:
                with _renewal(lease):
                    yield
            finally:
                _release(client, lease, log)
                self._released[limit].set()

    @_without_retries
    def _acquire(self, client: SyncPrefectClient, limit: str, log: _Log) -> UUID:
        logged, busy = "", 0
        while not self._stopped.is_set():
            try:
                reason = _unavailable_reason(client, limit)
                if not reason:
                    answer = client.increment_concurrency_slots_with_lease([limit], 1, "concurrency", _LEASE_SECONDS)
                    return UUID(answer.json()["lease_id"])
            except _DatabaseBusy:
                busy += 1
                if busy < _MAX_RETRIES:
                    self._stopped.wait(_RETRY_SECONDS)
                    continue
                reason = "the server's database is busy"
            except httpx.HTTPError as error:
                # Another run may have taken the slot since it was seen to be free.
                lost = isinstance(error, httpx.HTTPStatusError) and error.response.status_code == httpx.codes.LOCKED
                reason = _occupied(limit) if lost else f"the server does not answer ({error})"
            if reason != logged:
                log.info("waits: %s", reason)
            logged = reason
            if self._released[limit].wait(_POLL_SECONDS):
                self._released[limit].clear()
                self._stopped.wait(_RETRY_SECONDS)
        raise Stopped


@contextmanager
def _client() -> Iterator[SyncPrefectClient]:
    """Prefect's client, except that it raises _DatabaseBusy at a 503 rather than sleep for two seconds."""

    def check(response: httpx.Response) -> None:
        if response.status_code == httpx.codes.SERVICE_UNAVAILABLE:
            raise _DatabaseBusy

    with get_client(sync_client=True, httpx_settings={"event_hooks": {"response": [check]}}) as client:
        yield client


def _unavailable_reason(client: SyncPrefectClient, limit: str) -> str:
    """Why `limit` has no free slot; empty where it has one."""
    try:
        found = client.read_global_concurrency_limit_by_name(limit)
    except ObjectNotFound:
        raise MissingLimit(
            f"the server has no concurrency limit {limit!r}; create it with `python flows/setup.py`"
        ) from None
    return "" if found.active_slots < found.limit or not found.active else _occupied(limit)


def _occupied(limit: str) -> str:
    return f"all {limit} slots are occupied"


@contextmanager
def _renewal(lease: UUID) -> Iterator[None]:
    """Renew a lease for the length of the block."""
    over = threading.Event()

    def renew() -> None:
        while not over.wait(_RENEWAL_SECONDS):
            # A training goes on, and so does this, where the server is away for longer than a lease lasts.
            with suppress(httpx.HTTPError), get_client(sync_client=True) as client:
                client.renew_concurrency_lease(lease, _LEASE_SECONDS)

    # Prefect's settings, such as the server's address, are context variables.
    threading.Thread(target=contextvars.copy_context().run, args=(renew,), daemon=True).start()
    try:
        yield
    finally:
        over.set()


@_without_retries
def _release(client: SyncPrefectClient, lease: UUID, log: _Log) -> None:
    for _ in range(_MAX_RETRIES):
        try:
            client.release_concurrency_slots_with_lease(lease)
            return
        except _DatabaseBusy as error:
            reason: Exception = error
            time.sleep(_RETRY_SECONDS)
        except Exception as error:  # the stage has succeeded all the same, and the lease expires
            reason = error
            break
    log.warning("the concurrency slot could not be released (%s); its lease expires in five minutes", reason)


def create_limits(limits: Mapping[str, int | None], exclusive: bool = False) -> None:
    """Create or update global concurrency limits on the server.

    Args:
        limits: name to how many slots; None keeps what the server has or, for a new limit, means one per processor for
            "cpu" and one for any other.
        exclusive: whether no other flow run can be running on this server, so that an occupied slot is a killed run's,
            and is freed.

    Raises:
        ServerUnavailable: the server does not answer, or refuses the credentials.
    """
    with _connection_errors(), get_client(sync_client=True) as client:
        for name, limit in limits.items():
            changes = GlobalConcurrencyLimitUpdate.model_validate(
                {**({"limit": limit} if limit is not None else {}), **({"active_slots": 0} if exclusive else {})}
            )
            try:
                client.read_global_concurrency_limit_by_name(name)
            except ObjectNotFound:
                default = cpu_count() if name == "cpu" else 1  # a training uses a whole GPU
                client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=name, limit=limit or default))
            else:
                if changes.model_fields_set:
                    client.update_global_concurrency_limit(name, changes)


@contextmanager
def _connection_errors() -> Iterator[None]:
    """Raise ServerUnavailable, with what to do, where the server does not answer or refuses the credentials."""
    url = PREFECT_API_URL.value() or "the server"
    try:
        yield
    except httpx.HTTPStatusError as error:
        if error.response.status_code not in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            raise
        raise ServerUnavailable(
            f"{url} refuses the request ({error.response.reason_phrase}); set PREFECT_API_AUTH_STRING=USER:PASSWORD"
        ) from error
    except httpx.TransportError as error:
        raise ServerUnavailable(
            f"{url}: no Prefect server answers there ({error}); start it (make ui), or unset PREFECT_API_URL for a"
            " temporary server"
        ) from error


def cpu_count() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
