"""Concurrency slots of a real server, behind a proxy that answers some requests in its place."""

import contextvars
import logging
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any

import httpx
import prefect.client.base
import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

import concurrency as concurrency_module
from concurrency import ConcurrencySlots, create_limits

pytestmark = pytest.mark.xdist_group("prefect")

ACQUIRE, RELEASE = "/increment-with-lease", "/decrement-with-lease"


class Proxy(ThreadingHTTPServer):
    """A proxy of the server.

    Attributes:
        answers: suffixes of paths to the status codes with which the next requests for them are answered instead.
        requests: the paths of all requests so far.
    """

    daemon_threads = True

    def __init__(self, server: str):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.server_url = server.removesuffix("/api")
        self.answers: dict[str, list[int]] = {}
        self.requests: list[str] = []


class _Handler(BaseHTTPRequestHandler):
    def do_any(self) -> None:
        proxy = self.server
        assert isinstance(proxy, Proxy)
        proxy.requests.append(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        instead = next(
            (statuses for end, statuses in proxy.answers.items() if self.path.endswith(end) and statuses), None
        )
        if instead:
            status, content = instead.pop(0), b"{}"
        else:
            passed = {name: value for name, value in self.headers.items() if name.lower() == "content-type"}
            answer = httpx.request(self.command, proxy.server_url + self.path, content=body, headers=passed, timeout=60)
            status, content = answer.status_code, answer.content
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PATCH = do_any

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def proxy(server: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """A proxy of a server whose concurrency limit "lathe" has one slot."""
    create_limits({"lathe": 1}, exclusive=True)
    with Proxy(server.url) as opened:
        thread = threading.Thread(target=opened.serve_forever)
        thread.start()
        # Prefect's client would sleep for seconds before it repeats a request.
        monkeypatch.setattr(
            prefect.client.base, "time", SimpleNamespace(sleep=lambda seconds: pytest.fail("Prefect's client slept"))
        )
        try:
            with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{opened.server_port}/api"}):
                yield opened
        finally:
            opened.shutdown()
            thread.join()


def count(proxy: Proxy, end: str) -> int:
    return sum(path.endswith(end) for path in proxy.requests)


def test_a_busy_database_is_asked_again_at_once(proxy: Proxy, caplog: pytest.LogCaptureFixture) -> None:
    proxy.answers = {ACQUIRE: [503, 503], RELEASE: [503]}
    with caplog.at_level(logging.INFO), ConcurrencySlots(threading.Event()).hold("lathe", logging.getLogger("test")):
        assert count(proxy, ACQUIRE) == 3
    assert count(proxy, RELEASE) == 2
    assert not [record for record in caplog.records if record.name == "test"]
    with ConcurrencySlots(threading.Event()).hold("lathe", logging.getLogger("test")):  # the slot was released
        pass


def test_the_reason_for_waiting_is_logged_once(proxy: Proxy, caplog: pytest.LogCaptureFixture) -> None:
    proxy.answers = {ACQUIRE: [423, 423, 500, 500]}
    with caplog.at_level(logging.INFO), ConcurrencySlots(threading.Event()).hold("lathe", logging.getLogger("test")):
        pass
    logged = [record.getMessage() for record in caplog.records if record.name == "test"]
    assert logged[0] == "waits: all lathe slots are occupied"
    assert logged[1].startswith("waits: the server does not answer (")
    assert len(logged) == 2, "a reason is not repeated"


def test_a_lease_is_renewed_also_after_failed_renewals(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(concurrency_module, "_RENEWAL_SECONDS", 0.05)
    proxy.answers = {"/renew": [500, 404]}
    with ConcurrencySlots(threading.Event()).hold("lathe", logging.getLogger("test")):
        while count(proxy, "/renew") < 4:
            time.sleep(0.05)


def test_a_released_slot_is_acquired_by_the_next_stage_of_the_run_at_once(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(concurrency_module, "_POLL_SECONDS", 1e6)
    log, waiting, acquired = logging.getLogger("test"), threading.Event(), threading.Event()
    log.setLevel(logging.INFO)
    monkeypatch.setattr(log, "handle", lambda record: waiting.set())
    slots = ConcurrencySlots(threading.Event())

    def second() -> None:
        with slots.hold("lathe", log):
            acquired.set()

    # Prefect's settings are context variables, which a new thread does not inherit.
    thread = threading.Thread(target=contextvars.copy_context().run, args=(second,), daemon=True)
    with slots.hold("lathe", log):
        thread.start()
        waiting.wait()
        assert not acquired.is_set()
    acquired.wait()
    thread.join()
