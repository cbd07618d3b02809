"""A trial as a plain function, for workers on other machines that share only the project's files with the search."""

import os
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from repflow.errors import RepflowError
from repflow.stages.searching.space import Point
from repflow.stages.searching.workers import Evaluate, Outcome, ShouldContinue


def run_trial(project: Path, prepare: Callable[[], Evaluate], point: Point, should_continue: ShouldContinue) -> Outcome:
    """Run one trial in this process, and change its working directory to the project.

    The outcome is a function of the arguments and the project's files, so a lost trial can be run again anywhere.

    Args:
        project: the project's folder, as this process sees it.
        prepare: as in `Workers`; called once per process and project.
        point: the point of the trial.
        should_continue: the pruning decision.

    Raises:
        RepflowError: the trial failed with an error that the user can fix.
    """
    os.chdir(project)
    scores: dict[int, float] = {}

    def report_score(step: int, score: float) -> bool:
        scores[step] = score
        return should_continue(scores)

    return replace(_prepared(project, prepare)(point, report_score), step_scores=scores)


_open: dict[tuple[Path, bytes], Evaluate] = {}
"""The last preparation in this process, so that data are opened once, not for every trial."""


def _prepared(project: Path, prepare: Callable[[], Evaluate]) -> Evaluate:
    key = (project, pickle.dumps(prepare))
    if key not in _open:
        _open.clear()
        _open[key] = prepare()
    return _open[key]


class CheckedPreparation:
    """`prepare` for processes that may be on other machines: refuses to run with other code or data than the search's.

    Args:
        prepare: as in `Workers`.
        fingerprint: returns a hash of everything that the outcome depends on, in the process that calls it.
        expected: the hash of the search.
    """

    def __init__(self, prepare: Callable[[], Evaluate], fingerprint: Callable[[], str], expected: str):
        self._prepare, self._fingerprint, self._expected = prepare, fingerprint, expected

    def __call__(self) -> Evaluate:
        """Prepare, or raise RepflowError."""
        if self._fingerprint() != self._expected:
            raise RepflowError(
                f"{os.uname().nodename}: code, parameters or data in {os.getcwd()} differ from those of the search; the"
                " workers of a cluster need the same checkout at the same path"
            )
        return self._prepare()
