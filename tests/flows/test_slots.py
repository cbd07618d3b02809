"""Slots of a real server, behind a gate that now and then answers in its place."""

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

import slots as slots_module
from slots import Slots, create_limits

pytestmark = pytest.mark.xdist_group("prefect")

TAKE, GIVE_BACK = "/increment-with-lease", "/decrement-with-lease"


class Gate(ThreadingHTTPServer):
    """Passes requests on to the server.

    Attributes:
        answers: ends of paths to the statuses that the next requests for them get instead.
        asked: every path so far.
    """

    daemon_threads = True

    def __init__(self, server: str):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.server_url = server.removesuffix("/api")
        self.answers: dict[str, list[int]] = {}
        self.asked: list[str] = []


class _Handler(BaseHTTPRequestHandler):
    def do_any(self) -> None:
        gate = self.server
        assert isinstance(gate, Gate)
        gate.asked.append(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        instead = next(
            (statuses for end, statuses in gate.answers.items() if self.path.endswith(end) and statuses), None
        )
        if instead:
            status, content = instead.pop(0), b"{}"
        else:
            passed = {name: value for name, value in self.headers.items() if name.lower() == "content-type"}
            answer = httpx.request(self.command, gate.server_url + self.path, content=body, headers=passed, timeout=60)
            status, content = answer.status_code, answer.content
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PATCH = do_any

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def gate(server: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    """The way to a server that has one slot of the kind "lathe"."""
    create_limits({"lathe": 1}, alone=True)
    with Gate(server.url) as opened:
        thread = threading.Thread(target=opened.serve_forever)
        thread.start()
        # Prefect's client would sleep for seconds before it asks again.
        monkeypatch.setattr(prefect.client.base, "time", SimpleNamespace(sleep=lambda seconds: pytest.fail("it slept")))
        try:
            with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{opened.server_port}/api"}):
                yield opened
        finally:
            opened.shutdown()
            thread.join()


def count(gate: Gate, end: str) -> int:
    return sum(path.endswith(end) for path in gate.asked)


def test_a_busy_server_is_asked_again_at_once(gate: Gate, caplog: pytest.LogCaptureFixture) -> None:
    gate.answers = {TAKE: [503, 503], GIVE_BACK: [503]}
    with caplog.at_level(logging.INFO), Slots(threading.Event()).one("lathe", logging.getLogger("test")):
        assert count(gate, TAKE) == 3
    assert count(gate, GIVE_BACK) == 2
    assert not [record for record in caplog.records if record.name == "test"]
    with Slots(threading.Event()).one("lathe", logging.getLogger("test")):  # it was given back
        pass


def test_why_a_slot_is_waited_for_is_told(gate: Gate, caplog: pytest.LogCaptureFixture) -> None:
    gate.answers = {TAKE: [423, 423, 500, 500]}
    with caplog.at_level(logging.INFO), Slots(threading.Event()).one("lathe", logging.getLogger("test")):
        pass
    told = [record.getMessage() for record in caplog.records if record.name == "test"]
    assert told[0] == "waits: every lathe slot is taken"
    assert told[1].startswith("waits: the server does not answer (")
    assert len(told) == 2, "what was told is not told again"


def test_a_slot_that_is_in_use_is_renewed_whatever_the_server_says(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots_module, "_RENEW", 0.05)
    gate.answers = {"/renew": [500, 404]}
    with Slots(threading.Event()).one("lathe", logging.getLogger("test")):
        for _ in range(600):
            if count(gate, "/renew") >= 4:
                break
            time.sleep(0.05)
        assert count(gate, "/renew") >= 4


def test_a_slot_goes_to_the_next_stage_of_the_run_when_it_is_given_back(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slots_module, "_EVERY", 1000.0)
    log, waits, had = logging.getLogger("test"), threading.Event(), threading.Event()
    log.setLevel(logging.INFO)
    monkeypatch.setattr(log, "handle", lambda record: waits.set())
    slots = Slots(threading.Event())

    def second() -> None:
        with slots.one("lathe", log):
            had.set()

    # Which server it is stands in the context, which a bare thread does not have.
    thread = threading.Thread(target=contextvars.copy_context().run, args=(second,), daemon=True)
    with slots.one("lathe", log):
        thread.start()
        assert waits.wait(60)
        assert not had.is_set()
    assert had.wait(60)
    thread.join()
