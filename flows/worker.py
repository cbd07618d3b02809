"""A run that a worker started does not outlive it: cancelling is the worker's work, so nobody else could end it."""

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from prefect.runtime import deployment

_LOOK = 1.0
"""Seconds between two looks at whether the worker is there."""


@contextmanager
def ends_with_worker(log: "logging.Logger | logging.LoggerAdapter[Any]") -> Iterator[None]:
    """For the length of the block, end this process as a cancelled one ends where its worker is killed.

    A run that nobody but a terminal started has no worker.
    """
    if deployment.id is None:
        yield
        return
    over, worker, main = threading.Event(), os.getppid(), threading.get_ident()

    def watch() -> None:
        while not over.wait(_LOOK):
            if os.getppid() != worker:
                _print_nowhere()
                log.error("the worker was killed; what was trained is saved, and goes on when the run is started again")
                # To this thread, which waits: another that took the signal would not wake it.
                signal.pthread_kill(main, signal.SIGTERM)
                return

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        over.set()


def _print_nowhere() -> None:
    """The worker read what is printed here. A pipe without a reader would end the first thread that logs a line."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):
        os.dup2(nowhere, descriptor)
    os.close(nowhere)
