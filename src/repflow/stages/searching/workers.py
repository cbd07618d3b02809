"""Worker processes that run trials in parallel.

Each prepares itself once and then runs one trial after another. It reports every validation score and is told whether
to continue, so that one process makes all pruning decisions. No worker outlives the process that started it.
"""

import contextlib
import multiprocessing
import os
import signal
import sys
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from multiprocessing import connection
from types import TracebackType
from typing import Any, Literal, Protocol

from repflow.errors import RepflowError
from repflow.hardware.processes import end_with_parent, without_interrupts
from repflow.stages.searching.space import Point

ReportScore = Callable[[int, float], bool]
"""Called with a step and its validation score; returns whether the trial should continue."""

ShouldContinue = Callable[[Mapping[int, float]], bool]
"""Called with a trial's validation scores by step; returns whether the trial should continue."""


@dataclass(frozen=True)
class Outcome:
    """The result of a trial.

    Attributes:
        state: "complete", "pruned", or "failed" if training diverged.
        value: the validation accuracy; None unless complete.
        further: the further objectives, in the order of the search; empty unless complete.
        step_scores: validation score by step.
        reason: why it failed.
        cost: the cost of the trial, as returned by `training.cost.Meter.state`.
    """

    state: Literal["complete", "pruned", "failed"]
    value: float | None = None
    step_scores: Mapping[int, float] = field(default_factory=dict)
    reason: str = ""
    cost: Mapping[str, Any] = field(default_factory=dict)
    further: tuple[float, ...] = ()


Evaluate = Callable[[Point, ReportScore], Outcome]
"""Runs one trial; ends it as "pruned" if `report_score` returns false. Need not fill in `Outcome.step_scores`."""


class Runner(Protocol):
    """Runs trials in parallel, in local processes or on a cluster."""

    def outcomes(self, points: Mapping[int, Point], should_continue: ShouldContinue) -> Iterator[tuple[int, Outcome]]:
        """Run the trials, given by number; yield each outcome as soon as it is there."""
        ...


class Workers:
    """Up to `count` local processes, started when needed, ended with the `with` block.

    Args:
        count: the maximum number of processes.
        prepare: called once in each process; returns the function that runs a trial there. Must be importable by name.
    """

    def __init__(self, count: int, prepare: Callable[[], Evaluate]):
        self._count, self._prepare = count, prepare
        self._workers: list[_Worker] = []

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for worker in self._workers:
            worker.end()
        self._workers = []

    def outcomes(self, points: Mapping[int, Point], should_continue: ShouldContinue) -> Iterator[tuple[int, Outcome]]:
        """Run the trials, given by number; yield each outcome as soon as it is there.

        A trial whose process dies is run once more.

        Raises:
            RepflowError: a trial raised a RepflowError, or its process died twice.
        """
        waiting = deque(sorted(points))
        died: set[int] = set()
        while waiting or any(worker.number is not None for worker in self._workers):
            self._assign(waiting, points)
            busy = {worker.pipe: worker for worker in self._workers if worker.number is not None}
            for pipe in connection.wait(list(busy)):
                worker = busy[pipe]  # type: ignore[index]
                number = worker.number
                assert number is not None
                try:
                    outcome = worker.answer(should_continue)
                except (EOFError, OSError):
                    self._workers.remove(worker)
                    self._handle_death(worker, number, points[number], died)
                    waiting.appendleft(number)
                    continue
                if outcome is not None:
                    yield number, outcome

    def _assign(self, waiting: "deque[int]", points: Mapping[int, Point]) -> None:
        while waiting:
            worker = next((each for each in self._workers if each.number is None), None)
            if worker is None:
                if len(self._workers) == self._count:
                    return
                worker = _Worker(self._prepare)
                self._workers.append(worker)
            number = waiting.popleft()
            worker.begin(number, points[number])

    def _handle_death(self, worker: "_Worker", number: int, point: Point, died: set[int]) -> None:
        code = worker.end(patience=5)
        if number in died:
            raise RepflowError(
                f"trial {number} ({describe(point)}): its process died twice, {_cause(code)}; if memory ran"
                " out, lower tune.workers or the batch size; finished trials are kept for the next run"
            )
        died.add(number)


def describe(point: Point) -> str:
    """The point as text for messages, with the last part of each key."""
    return ", ".join(f"{key.rpartition('.')[2]} {value}" for key, value in point.items()) or "no settings"


def _cause(code: int | None) -> str:
    if code is not None and code < 0:
        return f"ended by signal {-code} ({signal.Signals(-code).name})"
    return f"exit code {code}"


class _Worker:
    """A worker process, as seen by the process that started it."""

    def __init__(self, prepare: Callable[[], Evaluate]):
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.number: int | None = None
        self._step_scores: dict[int, float] = {}
        self._process = context.Process(target=_work, args=(theirs, prepare), daemon=True)
        with without_interrupts():
            self._process.start()
        theirs.close()

    def begin(self, number: int, point: Point) -> None:
        self.number, self._step_scores = number, {}
        # A process that has died is detected when its answer is awaited.
        with contextlib.suppress(OSError):
            self.pipe.send(point)

    def answer(self, should_continue: ShouldContinue) -> Outcome | None:
        """Handle one message; returns the outcome if it was the trial's last message."""
        match self.pipe.recv():
            case "score", int(step), float(score):
                self._step_scores[step] = score
                self.pipe.send(should_continue(self._step_scores))
                return None
            case "end", Outcome() as outcome:
                self.number = None
                return replace(outcome, step_scores=self._step_scores)
            case "refused", RepflowError() as error:
                raise error
            case _, message:
                raise RuntimeError(f"a trial failed in its process:\n{message}")
        raise AssertionError("unknown message from a worker")

    def end(self, patience: float = 0) -> int | None:
        """Wait `patience` seconds for the process to end, then kill it; returns its exit code."""
        self.pipe.close()
        self._process.join(patience)
        if self._process.is_alive():
            self._process.kill()
        self._process.join()
        return self._process.exitcode


def _work(pipe: Any, prepare: Callable[[], Evaluate]) -> None:
    """The main loop of a worker process."""
    end_with_parent()
    sys.stderr = open(os.devnull, "w", encoding="utf-8")  # progress bars of parallel trainings would mix  # noqa: SIM115

    def report_score(step: int, score: float) -> bool:
        pipe.send(("score", step, score))
        return bool(pipe.recv())

    try:
        evaluate = prepare()
        while True:
            point = pipe.recv()
            pipe.send(("end", evaluate(point, report_score)))
    except (EOFError, BrokenPipeError):
        pass
    except RepflowError as error:
        pipe.send(("refused", error))
    except BaseException:
        pipe.send(("broken", traceback.format_exc()))
