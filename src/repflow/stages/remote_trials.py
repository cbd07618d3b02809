"""A trial as a plain function, for workers that share nothing but the project's files with the search."""

import os
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from repflow.errors import RepflowError
from repflow.stages.searching.space import Point
from repflow.stages.searching.workers import Evaluate, Judge, Outcome


def run_trial(project: Path, prepare: Callable[[], Evaluate], point: Point, judge: Judge) -> Outcome:
    """Run one trial in this process, whose working directory becomes the project's.

    The outcome is a function of the arguments and the project's files, so a trial that is lost may be run again
    anywhere.

    Args:
        project: its folder, where this process sees it.
        prepare: as `Workers` takes it; called once in a process for the same project.
        point: of the trial.
        judge: whether it goes on.

    Raises:
        RepflowError: the trial met an error of the user's.
    """
    os.chdir(project)
    looks: dict[int, float] = {}

    def look(step: int, score: float) -> bool:
        looks[step] = score
        return judge(looks)

    return replace(_prepared(project, prepare)(point, look), looks=looks)


_open: dict[tuple[Path, bytes], Evaluate] = {}
"""What this process has prepared last: data are opened once, not for every trial."""


def _prepared(project: Path, prepare: Callable[[], Evaluate]) -> Evaluate:
    key = (project, pickle.dumps(prepare))
    if key not in _open:
        _open.clear()
        _open[key] = prepare()
    return _open[key]


class Checked:
    """`prepare`, but for processes that may be on other machines: refuses where code or data are not the search's.

    Args:
        prepare: as `Workers` takes it.
        fingerprint: gives a hash of all that the outcome depends on, as it is where it is called.
        expected: that of the search.
    """

    def __init__(self, prepare: Callable[[], Evaluate], fingerprint: Callable[[], str], expected: str):
        self._prepare, self._fingerprint, self._expected = prepare, fingerprint, expected

    def __call__(self) -> Evaluate:
        """Prepare, or raise RepflowError."""
        if self._fingerprint() != self._expected:
            raise RepflowError(
                f"{os.uname().nodename}: other code, parameters or data than the search's in {os.getcwd()}; the workers"
                " of a cluster need the same checkout at the same place"
            )
        return self._prepare()
