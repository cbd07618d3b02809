"""Trials without training, for processes that import them by name. As a script: a search that can be killed."""

import functools
import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

from repflow.errors import DataError
from repflow.stages.searching.config import PrunerConfig, SearchConfig
from repflow.stages.searching.space import Point, Space, read_space
from repflow.stages.searching.workers import Evaluate, Outcome, ReportScore, Workers

SPACE: Space = read_space(
    {
        "rate": {"type": "float", "low": 0.001, "high": 1.0, "log": True},
        "deep": {
            "width": {"type": "int", "low": 1, "high": 64},
            "kind": {"type": "categorical", "choices": ["a", "b"]},
        },
    },
    "space",
)
DEFAULT: Point = {"rate": 0.01, "deep.width": 8, "deep.kind": "a"}
CONFIG = SearchConfig(space={}, trials=12, batch=4, startup=4, pruner=PrunerConfig(startup=1, warmup=2))
STEPS = 4


def value_of(point: Point) -> float:
    """Highest at rate 0.3 and width 20."""
    return 1 - abs(float(point["rate"] or 0) - 0.3) - abs(int(point["deep.width"] or 0) - 20) / 100


def bowl(seconds: float = 0.0) -> Evaluate:
    """Scores rise to the point's value in four steps; a trial of kind b takes `seconds`, one of kind a half of it."""

    def evaluate(point: Point, report_score: ReportScore) -> Outcome:
        for step in range(1, STEPS + 1):
            time.sleep(seconds / STEPS if point["deep.kind"] == "b" else seconds / STEPS / 2)
            if not report_score(step, value_of(point) * step / STEPS):
                return Outcome("pruned")
        return Outcome("complete", value_of(point))

    return evaluate


def two_objectives() -> Evaluate:
    """Like `bowl`, with a calibration error that is smaller for narrower networks."""
    plain = bowl()

    def evaluate(point: Point, report_score: ReportScore) -> Outcome:
        return replace(plain(point, report_score), further=(int(point["deep.width"] or 0) / 100,))

    return evaluate


def announced(folder: Path, seconds: float) -> Evaluate:
    """Like `bowl`; each process writes a file to `folder` when it starts a trial."""

    def evaluate(point: Point, report_score: ReportScore) -> Outcome:
        (folder / f"at-work-{os.getpid()}").touch()
        return bowl(seconds)(point, report_score)

    return evaluate


def diverging(above: float) -> Evaluate:
    """Trials with a larger rate fail."""

    def evaluate(point: Point, report_score: ReportScore) -> Outcome:
        if float(point["rate"] or 0) > above:
            return Outcome("failed", reason="the loss is nan at step 3")
        return bowl()(point, report_score)

    return evaluate


def dying(folder: Path, deaths: int) -> Evaluate:
    """The first trial's process is killed in the middle, `deaths` times."""

    def evaluate(point: Point, report_score: ReportScore) -> Outcome:
        seen = len(list(folder.glob("death-*")))
        if point == DEFAULT and seen < deaths:
            report_score(1, 0.0)
            (folder / f"death-{seen}").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return bowl()(point, report_score)

    return evaluate


def without_data() -> Evaluate:
    """Fails in preparation with an error that the user can fix."""
    raise DataError("data/stores/source: not a readable store")


def broken() -> Evaluate:
    """Fails with a programming error."""

    def evaluate(point: Point, report_score: ReportScore) -> Outcome:
        raise ZeroDivisionError("a mistake")

    return evaluate


if __name__ == "__main__":
    from repflow.stages.searching.study import Search

    class Halting(Search):
        """A search that goes no further once `most` trials are in its journal."""

        def _write(self, point: Point, outcome: Outcome) -> None:
            while len(self.finished) >= most:
                time.sleep(1)
            super()._write(point, outcome)

    journal, seconds, most = Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
    with Workers(2, functools.partial(announced, journal.parent, seconds)) as pool:
        Halting(CONFIG, SPACE, DEFAULT, 0, journal).run(pool)
