"""Processes that run trials side by side.

Each prepares itself once and then runs one trial after another. It reports every look at the validation rows and hears
whether to go on, so that all decisions are taken in one place. No worker outlives the process that started it.
"""

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from multiprocessing import connection, resource_tracker
from types import TracebackType
from typing import Any, Literal, Protocol

from repflow.errors import RepflowError
from repflow.stages.searching.space import Point

Look = Callable[[int, float], bool]
"""Told a step and its score; answers whether to go on."""

Judge = Callable[[Mapping[int, float]], bool]
"""Whether a trial with these scores by step goes on."""


@dataclass(frozen=True)
class Outcome:
    """How a trial ended.

    Attributes:
        state: run to its end, given up by the judge, or diverged.
        value: the accuracy; None unless complete.
        further: the other objectives, in the order of the search's; empty unless complete.
        looks: score by step.
        reason: why it failed.
        cost: what it took, as `training.cost.Meter.state` gives it.
    """

    state: Literal["complete", "pruned", "failed"]
    value: float | None = None
    looks: Mapping[int, float] = field(default_factory=dict)
    reason: str = ""
    cost: Mapping[str, Any] = field(default_factory=dict)
    further: tuple[float, ...] = ()


Evaluate = Callable[[Point, Look], Outcome]
"""Runs one trial, and ends it as "pruned" where a look is answered so. The looks need not be in its outcome."""


class Runner(Protocol):
    """Runs trials side by side, here or elsewhere."""

    def outcomes(self, points: Mapping[int, Point], judge: Judge) -> Iterator[tuple[int, Outcome]]:
        """Run the trials, by their numbers; give each outcome when it is there."""
        ...


class Workers:
    """Up to `count` processes, started when there is work, ended with the `with` block.

    Args:
        count: how many at most.
        prepare: called once in each process; gives what runs the trials there. Must be importable by name.
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

    def outcomes(self, points: Mapping[int, Point], judge: Judge) -> Iterator[tuple[int, Outcome]]:
        """Run the trials, by their numbers; give each outcome when it is there.

        A trial whose process dies is run once more.

        Raises:
            RepflowError: a trial met an error of the user's, or its process died twice.
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
                    outcome = worker.answer(judge)
                except (EOFError, OSError):
                    self._workers.remove(worker)
                    self._bury(worker, number, points[number], died)
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

    def _bury(self, worker: "_Worker", number: int, point: Point, died: set[int]) -> None:
        code = worker.end(patience=5)
        if number in died:
            raise RepflowError(
                f"trial {number} ({describe(point)}): its process died twice, {_cause(code)}; where memory is"
                " short, lower tune.workers or the batch size; finished trials are kept for the next run"
            )
        died.add(number)


def describe(point: Point) -> str:
    """The point in words, for messages; the last part of a key is enough there."""
    return ", ".join(f"{key.rpartition('.')[2]} {value}" for key, value in point.items()) or "no settings"


def _cause(code: int | None) -> str:
    if code is not None and code < 0:
        return f"ended by signal {-code} ({signal.Signals(-code).name})"
    return f"exit code {code}"


class _Worker:
    """One process, seen from the one that started it."""

    def __init__(self, prepare: Callable[[], Evaluate]):
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.number: int | None = None
        self._looks: dict[int, float] = {}
        self._process = context.Process(target=_work, args=(theirs, prepare), daemon=True)
        with _without_interrupts():
            self._process.start()
        theirs.close()

    def begin(self, number: int, point: Point) -> None:
        self.number, self._looks = number, {}
        # A process that has died by now is found out when its answer is awaited.
        with contextlib.suppress(OSError):
            self.pipe.send(point)

    def answer(self, judge: Judge) -> Outcome | None:
        """Take one message; the outcome where it was the trial's last."""
        match self.pipe.recv():
            case "look", int(step), float(score):
                self._looks[step] = score
                self.pipe.send(judge(self._looks))
                return None
            case "end", Outcome() as outcome:
                self.number = None
                return replace(outcome, looks=self._looks)
            case "refused", RepflowError() as error:
                raise error
            case _, message:
                raise RuntimeError(f"a trial failed in its process:\n{message}")
        raise AssertionError("a message of no known form")

    def end(self, patience: float = 0) -> int | None:
        """End the process, whatever it does, after `patience` seconds to end by itself; its exit code."""
        self.pipe.close()
        self._process.join(patience)
        if self._process.is_alive():
            self._process.kill()
        self._process.join()
        return self._process.exitcode


@contextlib.contextmanager
def _without_interrupts() -> Iterator[None]:
    """Processes started here never see Ctrl-C, which a terminal sends to all; the one that started them ends them."""
    resource_tracker.ensure_running()  # its start would lift the block
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(pipe: Any, prepare: Callable[[], Evaluate]) -> None:
    """What a worker process does until it is ended."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    sys.stderr = open(os.devnull, "w")  # the progress of several trainings on one terminal is of no use  # noqa: SIM115

    def look(step: int, score: float) -> bool:
        pipe.send(("look", step, score))
        return bool(pipe.recv())

    try:
        evaluate = prepare()
        while True:
            point = pipe.recv()
            pipe.send(("end", evaluate(point, look)))
    except (EOFError, BrokenPipeError):
        pass
    except RepflowError as error:
        pipe.send(("refused", error))
    except BaseException:
        pipe.send(("broken", traceback.format_exc()))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
