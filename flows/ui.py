"""`make ui`: a local Prefect server with its UI, the deployments of this checkout, and a worker, until Ctrl-C.

    python flows/ui.py --port 4200

All processes that it starts end with it. The server's database and the logs are in `.repflow/prefect/`.
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
from repflow.cli.surroundings import take_every_character

HOST = "127.0.0.1"
_START_TIMEOUT = 300.0
"""Seconds that the server and each worker may take to start."""

_CANCEL_TIMEOUT = 15.0
"""Seconds that cancelled flow runs may take to end."""


class Service:
    """A `prefect` process that runs until it is stopped, with its output in a log file.

    Args:
        name: of the process, in messages and as the name of the log file.
        arguments: of the `prefect` command.
        environment: variables to set; PREFECT_HOME is the folder of the log file.
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
    def log_tail(self) -> str:
        """The last lines of its log."""
        return "\n".join(self.log.read_text(encoding="utf-8").splitlines()[-20:])

    @property
    def is_alive(self) -> bool:
        """Whether it is running."""
        return self._thread.is_alive()

    def wait_until(self, ready: Callable[[], bool]) -> None:
        """Wait until `ready` returns true.

        Raises:
            RuntimeError: it ended or was not ready in time; with the last lines of its log.
        """
        end = time.monotonic() + _START_TIMEOUT
        while not ready():
            if not self.is_alive or time.monotonic() > end:
                raise RuntimeError(f"the {self.name} did not start:\n{self.log_tail}")
            time.sleep(0.2)

    def stop(self) -> None:
        """Terminate it with all processes that it started."""
        self._processes.stop()
        self._thread.join()


@contextmanager
def running(port: int, gpu: bool) -> Iterator[list[Service]]:
    """A server with the deployments, a worker of the pool `cpu` and, with `gpu`, one of the pool `gpu`.

    Raises:
        RuntimeError: the port is in use, or the server or a worker did not start.
    """
    check_port(port)
    url = f"http://{HOST}:{port}/api"
    home = PROJECT / ".repflow" / "prefect"
    home.mkdir(parents=True, exist_ok=True)
    environment = {
        "PREFECT_API_URL": url,
        "PREFECT_HOME": str(home),
        "PREFECT_WORKER_QUERY_SECONDS": "2",
        "PREFECT_SERVER_DEPLOYMENTS_CONCURRENCY_SLOT_WAIT_SECONDS": "5",  # until a queued run tries again
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        # Leases of killed runs expire also after a restart of the server; Prefect's default keeps leases in memory.
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
        "REPFLOW_PROJECT": str(PROJECT),
    }
    os.environ |= environment
    from setup import set_up  # Prefect reads its settings from the environment when it is imported

    services: list[Service] = []
    try:
        services.append(Service("server", ["server", "start", "--host", HOST, "--port", str(port)], environment))
        services[0].wait_until(lambda: answers(url))
        set_up({"cpu": None, "gpu": None}, exclusive=True)
        for pool in ["cpu", *(["gpu"] if gpu else [])]:
            arguments = ["worker", "start", "--pool", pool, "--name", f"{pool}-{os.getpid()}"]
            services.append(Service(f"{pool} worker", arguments, environment))
        for worker in services[1:]:
            name = f"{worker.name.split()[0]}-{os.getpid()}"
            worker.wait_until(lambda name=name: is_online(url, name))  # type: ignore[misc]
        yield services
    finally:
        if len(services) > 1 and services[0].is_alive:
            cancel_runs(url)
        for service in reversed(services):
            service.stop()


def check_port(port: int) -> None:
    """Raise RuntimeError if `port` is in use."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise RuntimeError(
                f"port {port}: {error.strerror}; is a server running? For another port: make ui PORT=..."
            ) from None


def answers(url: str) -> bool:
    """Whether a server answers at `url`."""
    with suppress(httpx.HTTPError):
        return httpx.get(f"{url}/health", timeout=5).is_success
    return False


def is_online(url: str, worker: str) -> bool:
    """Whether the worker is online, by the server at `url`."""
    with suppress(httpx.HTTPError):
        found = _post(f"{url}/work_pools/{worker.split('-')[0]}/workers/filter", {})
        return any(each["name"] == worker and each["status"] == "ONLINE" for each in found)
    return False


def cancel_runs(url: str) -> None:
    """Cancel all flow runs, and wait until they have ended; their trainings save checkpoints to resume from."""
    unfinished = {"flow_runs": {"state": {"type": {"any_": ["RUNNING", "PENDING", "CANCELLING"]}}}}
    end = time.monotonic() + _CANCEL_TIMEOUT
    cancelled: set[str] = set()
    while time.monotonic() < end:
        with suppress(httpx.HTTPError):  # 503 while SQLite, which allows one writer at a time, is busy
            runs = {run["id"] for run in _post(f"{url}/flow_runs/filter", unfinished)}
            if not runs:
                return
            for run in runs - cancelled:
                state = {"state": {"type": "CANCELLING", "name": "Cancelling"}, "force": True}
                _post(f"{url}/flow_runs/{run}/set_state", state)
                cancelled.add(run)
        time.sleep(0.3)


def _post(address: str, values: dict[str, Any]) -> Any:
    """The server's answer to a POST request; raises httpx.HTTPError where it does not answer or refuses."""
    user, _, password = os.environ.get("PREFECT_API_AUTH_STRING", "").partition(":")
    auth = httpx.BasicAuth(user, password) if user else None
    return httpx.post(address, json=values, timeout=5, auth=auth).raise_for_status().json()


def main() -> int:
    """Run the server and the workers until Ctrl-C."""
    take_every_character()
    parser = argparse.ArgumentParser(description="Start a Prefect server with a worker and the deployments.")
    parser.add_argument("--port", type=int, default=4200, help="port on 127.0.0.1 (default: 4200)")
    given = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    gpu = any(Path("/dev").glob("nvidia[0-9]*"))
    try:
        print("starting a Prefect server, which takes up to a minute the first time", flush=True)
        with running(given.port, gpu) as services:
            kinds = " and ".join(service.name for service in services[1:])
            print(f"http://{HOST}:{given.port} is up, with a {kinds}; Ctrl-C ends it", flush=True)
            while all(service.is_alive for service in services):
                time.sleep(0.5)
            dead = next(service for service in services if not service.is_alive)
            print(f"error: the {dead.name} ended:\n{dead.log_tail}", file=sys.stderr)
            return 1
    except RuntimeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        with suppress(BrokenPipeError):
            print("ended", flush=True)
        return 0


def _interrupt(number: int, frame: object) -> NoReturn:
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)  # cleaning up is short, and is not to be interrupted
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
