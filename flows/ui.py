"""`make ui`: a Prefect server of this machine, a worker and the deployments, for as long as it runs.

    python flows/ui.py --port 4200

Everything it starts ends with it. The server's database and what both of them say are in `.repflow/prefect/`.
"""

import argparse
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

import httpx

from parameters import PROJECT
from processes import Processes, Stopped

HOST = "127.0.0.1"
_PATIENCE = 300.0
"""Seconds that the server and a worker each have to answer."""
_END = 15.0
"""Seconds that cancelled runs have to end."""


class Service:
    """A process that goes on until it is stopped; what it says stands in a file.

    Args:
        name: for messages and the file.
        arguments: of `prefect`.
        environment: variables to set.
    """

    def __init__(self, name: str, arguments: list[str], environment: dict[str, str]):
        self.name, self.log = name, Path(environment["PREFECT_HOME"]) / f"{name.replace(' ', '-')}.log"
        self._processes = Processes(PROJECT, environment)
        self._thread = threading.Thread(target=self._run, args=(arguments,), daemon=True)
        self._thread.start()

    def _run(self, arguments: list[str]) -> None:
        with suppress(Stopped), open(self.log, "w", encoding="utf-8", buffering=1) as log:
            self._processes.run([sys.executable, "-m", "prefect", *arguments], lambda line: print(line, file=log))

    @property
    def end(self) -> str:
        """The last lines of what it said."""
        return "\n".join(self.log.read_text(encoding="utf-8").splitlines()[-20:])

    @property
    def lives(self) -> bool:
        """Whether it has not ended by itself."""
        return self._thread.is_alive()

    def wait_until(self, ready: Callable[[], bool]) -> None:
        """Wait until it answers.

        Raises:
            RuntimeError: it ended, or does not answer; with what it said.
        """
        end = time.monotonic() + _PATIENCE
        while not ready():
            if not self.lives or time.monotonic() > end:
                raise RuntimeError(f"the {self.name} did not start:\n{self.end}")
            time.sleep(0.2)

    def stop(self) -> None:
        """End it, with all that it started."""
        self._processes.stop()
        self._thread.join()


@contextmanager
def running(port: int, gpu: bool) -> Iterator[list[Service]]:
    """A server at `port`, the deployments on it, and a worker for each kind of machine that this one is.

    Raises:
        RuntimeError: the port is taken, or something did not start.
    """
    check_port(port)
    url = f"http://{HOST}:{port}/api"
    home = PROJECT / ".repflow" / "prefect"
    home.mkdir(parents=True, exist_ok=True)
    environment = {
        "PREFECT_API_URL": url,
        "PREFECT_HOME": str(home),
        "PREFECT_WORKER_QUERY_SECONDS": "2",
        "PREFECT_SERVER_DEPLOYMENTS_CONCURRENCY_SLOT_WAIT_SECONDS": "5",  # until a run that waits asks again
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        # Slots that a killed run held come back also where the server was started anew.
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
        "REPFLOW_PROJECT": str(PROJECT),
    }
    os.environ |= environment
    from setup import set_up  # Prefect reads its settings from the environment once

    services: list[Service] = []
    try:
        services.append(Service("server", ["server", "start", "--host", HOST, "--port", str(port)], environment))
        services[0].wait_until(lambda: answers(url))
        set_up({"cpu": None, "gpu": None}, alone=True)
        for pool in ["cpu", *(["gpu"] if gpu else [])]:
            arguments = ["worker", "start", "--pool", pool, "--name", f"{pool}-{os.getpid()}"]
            services.append(Service(f"{pool} worker", arguments, environment))
        for worker in services[1:]:
            name = f"{worker.name.split()[0]}-{os.getpid()}"
            worker.wait_until(lambda name=name: is_online(url, name))  # type: ignore[misc]
        yield services
    finally:
        if len(services) > 1 and services[0].lives:
            cancel_runs(url)
        for service in reversed(services):
            service.stop()


def check_port(port: int) -> None:
    """Raise RuntimeError where somebody listens at `port`."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise RuntimeError(f"port {port}: {error.strerror}; is a server running? Else: make ui PORT=...") from None


def answers(url: str) -> bool:
    """Whether the server at `url` is up."""
    with suppress(httpx.HTTPError):
        return httpx.get(f"{url}/health", timeout=5).is_success
    return False


def is_online(url: str, worker: str) -> bool:
    """Whether the server at `url` has heard of the worker."""
    with suppress(httpx.HTTPError):
        found = _ask(f"{url}/work_pools/{worker.split('-')[0]}/workers/filter", {})
        return any(each["name"] == worker and each["status"] == "ONLINE" for each in found)
    return False


def cancel_runs(url: str) -> None:
    """Cancel what runs, and wait a while until it has ended; its training goes on from its checkpoint another time."""
    going = {"flow_runs": {"state": {"type": {"any_": ["RUNNING", "PENDING", "CANCELLING"]}}}}
    end = time.monotonic() + _END
    asked: set[str] = set()
    while time.monotonic() < end:
        with suppress(httpx.HTTPError):  # the database has one writer, and the server says so now and then
            runs = {run["id"] for run in _ask(f"{url}/flow_runs/filter", going)}
            if not runs:
                return
            for run in runs - asked:
                state = {"state": {"type": "CANCELLING", "name": "Cancelling"}, "force": True}
                _ask(f"{url}/flow_runs/{run}/set_state", state)
                asked.add(run)
        time.sleep(0.3)


def _ask(address: str, values: dict[str, Any]) -> Any:
    """What the server answers; raises httpx.HTTPError where it does not, or refuses."""
    user, _, password = os.environ.get("PREFECT_API_AUTH_STRING", "").partition(":")
    auth = httpx.BasicAuth(user, password) if user else None
    return httpx.post(address, json=values, timeout=5, auth=auth).raise_for_status().json()


def main() -> int:
    """Serve until Ctrl-C."""
    parser = argparse.ArgumentParser(description="Start a Prefect server, a worker and the deployments.")
    parser.add_argument("--port", type=int, default=4200, help="where to listen on 127.0.0.1 (default: 4200)")
    given = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _end)
    gpu = any(Path("/dev").glob("nvidia[0-9]*"))
    try:
        print("starting a Prefect server, which takes up to a minute the first time", flush=True)
        with running(given.port, gpu) as services:
            kinds = " and ".join(service.name for service in services[1:])
            print(f"http://{HOST}:{given.port} is up, with a {kinds}; Ctrl-C ends it", flush=True)
            while all(service.lives for service in services):
                time.sleep(0.5)
            dead = next(service for service in services if not service.lives)
            print(f"error: the {dead.name} ended:\n{dead.end}", file=sys.stderr)
            return 1
    except RuntimeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        with suppress(BrokenPipeError):
            print("ended", flush=True)
        return 0


def _end(number: int, frame: object) -> NoReturn:
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)  # what is to be done now is short
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
