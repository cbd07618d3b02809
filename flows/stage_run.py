"""Runs single stages of the graph by DVC, and turns the results into states of Prefect task runs."""

import logging
import re
import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from prefect import State
from prefect.client.schemas.objects import TaskRun
from prefect.states import Cancelled, Completed, Failed
from prefect.tasks import Task

from changes import changed_modules, in_words, read_status
from concurrency import ConcurrencySlots, MissingLimit
from graph import Stage
from processes import Processes, Stopped

RETRY_DELAYS = [5.0, 10.0, 20.0, 30.0, 30.0, 30.0]
"""Seconds before each retry of a stage that failed for a transient reason."""

WAIT_FOR_LOCK = "--wait-for-lock"
"""Lets DVC wait for a lock that another DVC process holds."""

OnLine = Callable[[str], None]
"""Called with each line of a stage's output."""

Log = logging.Logger | logging.LoggerAdapter[Any]


class Stages:
    """Runs stages of one project; safe to call from several threads, for each stage after those that it depends on.

    Args:
        processes: runs DVC in the project's folder.
        force: also run stages that are up to date.
    """

    def __init__(self, processes: Processes, force: bool = False):
        self._processes, self._force = processes, force
        self._slots = ConcurrencySlots(processes.stopped)
        self._reasons: dict[str, list[str]] = {}
        self._ran: set[str] = set()
        self._lock = threading.Lock()

    def read_status(self, log: Log) -> None:
        """Read from `dvc status` which stages are not up to date, and wait while another DVC process holds a lock.

        Raises:
            RuntimeError: `dvc status` failed; with its reason.
            Stopped: the flow run was stopped.
        """
        logged = ""
        while True:
            lines: list[str] = []
            if not self._processes.dvc([WAIT_FOR_LOCK, "status", "--json"], lines.append):
                self._reasons = read_status("\n".join(lines))
                return
            reason = cause(lines)
            if not is_transient(lines):
                raise RuntimeError(f"dvc status: {reason}")
            if reason != logged:
                log.info("waits: %s", reason)
            logged = reason
            self._processes.stopped.wait(RETRY_DELAYS[0])

    def why(self, address: str) -> str:
        """Why a stage is not up to date, as of the last `read_status`; empty where it is up to date."""
        return in_words(self._reasons.get(address, []))

    def run(self, stage: Stage, log: Log, on_line: OnLine) -> State[Any]:
        """Run a stage unless it is up to date, and return the state of its task run.

        Args:
            stage: the stage.
            log: where to log why it runs and what it waits for.
            on_line: called with each line of its output.

        Returns:
            A completed state, with the name "Cached" where DVC had the outputs already; a failed state with the reason,
            with the name "Busy" where the reason is transient; a cancelled state where the flow run was stopped.
        """
        with self._lock:
            before = sorted(self._ran & set(stage.upstream))
        reasons = self._reasons.get(stage.address, [])
        if not (reasons or before or self._force):
            return Completed(name="Cached", message="up to date")
        modules = changed_modules(self._processes.folder, stage.fingerprints)
        if modules:  # they say more than the file that lists them, and than the stage that wrote it
            reasons = [
                *(f"code {name} changed" for name in modules),
                *(each for each in reasons if "code/" not in each),
            ]
            before = [address for address in before if address != "code"]
        why = in_words([*reasons, *(["force is set"] if self._force else [])], before)
        log.info("why it runs: %s", why)
        try:
            with self._slots.hold(stage.slot, log):
                return self._reproduce(stage, on_line, why)
        except Stopped:
            return Cancelled(message="the flow run was stopped")
        except MissingLimit as error:
            return Failed(message=f"{stage.address}: {error}")

    def _reproduce(self, stage: Stage, on_line: OnLine, why: str) -> State[Any]:
        lines: list[str] = []

        def on_output(line: str) -> None:
            lines.append(line)
            on_line(line)

        # Single stages can run in parallel; with their upstream stages they would wait for each other's locks on those
        # that they share.
        arguments = [WAIT_FOR_LOCK, "repro", "--single-item", *(["--force"] if self._force else []), stage.address]
        if self._processes.dvc(arguments, on_output):
            message = f"{stage.address}: {cause(lines)}"
            return Failed(message=message, name="Busy") if is_transient(lines) else Failed(message=message)
        if any(mark in line for line in lines for mark in _UNCHANGED):
            return Completed(
                name="Cached", message="its dependencies did not change, or DVC had its outputs in the run cache"
            )
        with self._lock:
            self._ran.add(stage.address)
        return Completed(message=why)


def is_retryable(task: "Task[..., Any]", run: TaskRun, state: State[Any]) -> bool:
    """Whether to retry a failed stage: only where the reason is transient."""
    return state.name == "Busy"


_UNCHANGED = ("didn't change, skipping", "is cached - skipping run")
"""What DVC prints for a stage that it did not run."""

_TRANSIENT = (
    "is busy, it is being blocked by:",  # another DVC process holds a lock on the same files
    "Unable to acquire lock",
    "exited with 75",  # EX_TEMPFAIL: a training that got SIGTERM and saved a checkpoint
    "CUDA-capable device(s) is/are busy or unavailable",
    "unspecified launch failure",
    "uncorrectable ECC error",
    "GPU is lost",
)
"""What is printed for transient failures: a lock that is held, a GPU that is busy or was lost."""


def is_transient(lines: Iterable[str]) -> bool:
    """Whether the output of a failed stage names a transient reason, so that a retry may succeed."""
    return any(mark in line for line in lines for mark in _TRANSIENT)


def cause(lines: Collection[str]) -> str:
    """Why a stage failed, in one line: a full disk, else the stage's own error, else DVC's, which has the exit code."""
    full = [line for line in lines if "No space left on device" in line]
    own = full or [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    of_dvc = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    said = (own or of_dvc or list(lines) or ["it printed nothing"])[-1]
    if said.endswith("is busy, it is being blocked by:"):
        holders = "; ".join(line.strip() for line in lines if re.match(r"\s*\(PID \d+\): ", line))
        said = f"another DVC process holds a lock on the same files: {holders}; wait for it, or end it"
    return said + next((advice for mark, advice in _ADVICE.items() if mark in said), "")


_ADVICE: Mapping[str, str] = {
    "Unable to read RWLock-file": "; a process was killed while writing it: remove it if no other DVC process runs",
    "No space left on device": "; free some space, perhaps by `dvc gc --workspace`, and run again",
}
