"""One stage of the graph, run by DVC, and what became of it."""

import logging
import re
import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from prefect import State
from prefect.client.schemas.objects import TaskRun
from prefect.states import Cancelled, Completed, Failed
from prefect.tasks import Task

from changes import in_words, read_status
from graph import Stage
from processes import Processes, Stopped
from slots import NoLimit, Slots

RETRY_DELAYS = [5.0, 10.0, 20.0, 30.0, 30.0, 30.0]
"""Seconds before each new try of what was busy."""

WAITING = "--wait-for-lock"
"""Has DVC wait for another that is at work."""

Show = Callable[[str], None]
"""Takes a line of a stage's output."""

Log = logging.Logger | logging.LoggerAdapter[Any]


class Stages:
    """Runs stages of one project; callable from several threads, each stage after those that it needs.

    Args:
        processes: where they run.
        force: run stages that are up to date, too.
    """

    def __init__(self, processes: Processes, force: bool = False):
        self._processes, self._force = processes, force
        self._slots = Slots(processes.stopped)
        self._reasons: dict[str, list[str]] = {}
        self._ran: set[str] = set()
        self._lock = threading.Lock()

    def look(self, log: Log) -> None:
        """Ask DVC what is not up to date, as soon as no other DVC process is at work here.

        Raises:
            RuntimeError: DVC cannot tell; says why.
            Stopped: the run was stopped.
        """
        told = ""
        while True:
            lines: list[str] = []
            if not self._processes.dvc([WAITING, "status", "--json"], lines.append):
                self._reasons = read_status("\n".join(lines))
                return
            reason = cause(lines)
            if not may_pass(lines):
                raise RuntimeError(f"dvc status: {reason}")
            if reason != told:
                log.info("waits: %s", reason)
            told = reason
            self._processes.stopped.wait(RETRY_DELAYS[0])

    def why(self, address: str) -> str:
        """Why a stage is not up to date, as of the last look; nothing where it is."""
        return in_words(self._reasons.get(address, []))

    def run(self, stage: Stage, log: Log, show: Show) -> State[Any]:
        """Run a stage, if it has to run, and give the state of its task: "Cached" where DVC had its outputs.

        Args:
            stage: which.
            log: for what is said about it.
            show: for what it says itself.
        """
        with self._lock:
            before = sorted(self._ran & set(stage.upstream))
        reasons = self._reasons.get(stage.address, [])
        if not (reasons or before or self._force):
            return Completed(name="Cached", message="up to date")
        why = in_words([*reasons, *(["force was asked for"] if self._force else [])], before)
        log.info("why it runs: %s", why)
        try:
            with self._slots.one(stage.slot, log):
                return self._reproduce(stage, show, why)
        except Stopped:
            return Cancelled(message="the run was stopped")
        except NoLimit as error:
            return Failed(message=f"{stage.address}: {error}")

    def _reproduce(self, stage: Stage, show: Show, why: str) -> State[Any]:
        lines: list[str] = []

        def hear(line: str) -> None:
            lines.append(line)
            show(line)

        # `-s`: only single stages can run side by side, whole branches would wait for each other's lock on the stages
        # that they share.
        arguments = [WAITING, "repro", "--single-item", *(["--force"] if self._force else []), stage.address]
        if self._processes.dvc(arguments, hear):
            message = f"{stage.address}: {cause(lines)}"
            return Failed(message=message, name="Busy") if may_pass(lines) else Failed(message=message)
        if any(mark in line for line in lines for mark in _UNCHANGED):
            return Completed(name="Cached", message="its inputs did not change, or DVC's cache had what comes of them")
        with self._lock:
            self._ran.add(stage.address)
        return Completed(message=why)


def worth_retrying(task: "Task[..., Any]", run: TaskRun, state: State[Any]) -> bool:
    """Whether a failed stage is to be tried again: only where what stood in its way may go away by itself."""
    return state.name == "Busy"


_UNCHANGED = ("didn't change, skipping", "is cached - skipping run")
"""What DVC says of a stage that it did not run."""

_PASSING = (
    "is busy, it is being blocked by:",  # another DVC process is at work on the same files
    "Unable to acquire lock",
    "exited with 75",  # EX_TEMPFAIL: a training that was asked to end, and goes on from its checkpoint
    "CUDA-capable device(s) is/are busy or unavailable",
    "unspecified launch failure",
    "uncorrectable ECC error",
    "GPU is lost",
)
"""What is said of a failure that may be over in a while: a lock that is held, a device that was lost."""


def may_pass(lines: Iterable[str]) -> bool:
    """Whether what a stage said before it failed is worth another try."""
    return any(mark in line for line in lines for mark in _PASSING)


def cause(lines: Collection[str]) -> str:
    """Why a stage failed, in one line: a full disk, else its own error, else DVC's, which names the exit code."""
    full = [line for line in lines if "No space left on device" in line]
    own = full or [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    of_dvc = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    said = (own or of_dvc or list(lines) or ["it said nothing"])[-1]
    if said.endswith("is busy, it is being blocked by:"):
        holders = "; ".join(line.strip() for line in lines if re.match(r"\s*\(PID \d+\): ", line))
        said = f"another DVC process is at work on the same files: {holders}; wait for it, or end it"
    return said + next((advice for mark, advice in _ADVICE.items() if mark in said), "")


_ADVICE: Mapping[str, str] = {
    "Unable to read RWLock-file": "; a process was killed while writing it: where no other DVC is at work, remove it",
    "No space left on device": "; free some space, perhaps by `dvc gc --workspace`, and run again",
}
