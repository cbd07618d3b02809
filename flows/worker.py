"""Ends a flow run whose worker is killed.

Prefect up to 3.9.1 lets its process run on and the run stay *Running*, and without the worker nobody can cancel it.
"""

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from prefect.logging.handlers import APILogHandler
from prefect.runtime import deployment

_POLL_SECONDS = 1.0
"""Between two checks of whether the worker is still this process's parent."""


@contextmanager
def ends_with_worker(log: "logging.Logger | logging.LoggerAdapter[Any]") -> Iterator[None]:
    """For the length of the block, send this process SIGTERM if its worker is killed, as cancelling does.

    Does nothing in a flow run that was started at a terminal.
    """
    if deployment.id is None:
        yield
        return
    over, worker, main = threading.Event(), os.getppid(), threading.get_ident()

    def watch() -> None:
        while not over.wait(_POLL_SECONDS):
            if os.getppid() != worker:
                _discard_output()
                log.error("the worker was killed; start the run again to resume it from its checkpoints")
                APILogHandler().flush()  # SIGTERM ends this process without its last logs having been sent
                # To the thread that runs the flow: a signal that another thread takes would not interrupt its waiting.
                signal.pthread_kill(main, signal.SIGTERM)
                return

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        over.set()


def _discard_output() -> None:
    """Redirect the output to /dev/null: the worker read it, and a write to a pipe without a reader raises an error."""
    null = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):
        os.dup2(null, descriptor)
    os.close(null)
