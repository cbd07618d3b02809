"""The trials of a search as tasks on Dask.

The workers of a cluster know a task by the names of its modules: they find this folder on the path of the process that
started them, or, elsewhere, on their own PYTHONPATH.
"""

import contextlib
import functools
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect_dask.task_runners import DaskTaskRunner, PrefectDaskFuture
from prefect_dask.utils import get_dask_client

from artifacts import Progress
from repflow.errors import RepflowError
from repflow.stages.remote_trials import CheckedPreparation, run_trial
from repflow.stages.searching.space import Point
from repflow.stages.searching.workers import Evaluate, Outcome, ShouldContinue

STAGE = "tune"

_FOLDER = str(Path(__file__).parent)
if _FOLDER not in sys.path:  # Prefect takes it away again when it has loaded a flow from a file
    sys.path.append(_FOLDER)

_LOOK = 10.0
"""Seconds between two looks at whether the cluster still has workers."""
_WITHOUT_WORKERS = 120.0
"""Seconds that it may be without one."""


def task_runner(project: Path, workers: int) -> DaskTaskRunner:
    """The cluster that REPFLOW_DASK names, or one of this machine for as long as the search lasts."""
    address = os.environ.get("REPFLOW_DASK")
    if address:
        return DaskTaskRunner(address=address)
    cluster = {
        "n_workers": workers,
        "threads_per_worker": 1,
        "host": "127.0.0.1",
        "dashboard_address": None,
        "memory_limit": 0,  # the system's own word on memory is enough
        "local_directory": str(project / ".repflow" / "dask"),
    }
    return DaskTaskRunner(cluster_kwargs=cluster)


@flow(name="trials", flow_run_name="trials", validate_parameters=False)
def trials(project: Path) -> None:
    """Run the search in `project`; each trial is a task of this flow."""
    from repflow.stages import tune
    from repflow.stages.searching.config import TuneConfig

    def runner(config: TuneConfig) -> "contextlib.AbstractContextManager[DaskTrials]":
        expected = tune.fingerprint(config.search)
        checked = CheckedPreparation(
            tune.trial_preparation(config), functools.partial(tune.fingerprint, config.search), expected
        )
        return contextlib.nullcontext(DaskTrials(project, checked))

    with contextlib.chdir(project), _heard():
        tune.run(runner, os.environ.get("REPFLOW_SEARCH_STORAGE"))


class DaskTrials:
    """Runs trials as tasks of the flow that makes it.

    Args:
        project: where the workers find the project.
        prepare: as `Workers` takes it; must be importable there.
    """

    def __init__(self, project: Path, prepare: Callable[[], Evaluate]):
        self._project, self._prepare = project, prepare

    def outcomes(self, points: Mapping[int, Point], should_continue: ShouldContinue) -> Iterator[tuple[int, Outcome]]:
        """Run the trials, by their numbers. One whose worker dies is run again elsewhere; Dask sees to it.

        Raises:
            RepflowError: a trial met an error of the user's, or several workers died of it.
        """
        run = task(cache_policy=NO_CACHE, persist_result=False)(run_trial)
        futures: dict[int, Any] = {
            number: run.with_options(name=f"trial {number}", task_run_name=f"trial {number}").submit(
                self._project, self._prepare, point, should_continue
            )
            for number, point in sorted(points.items())
        }
        for number, future in futures.items():
            try:
                yield number, _result(future)
            except RepflowError:
                raise
            except Exception as error:
                raise RepflowError(
                    f"trial {number}: {error or type(error).__name__}; finished trials are kept for the next run"
                ) from error


def _result(future: PrefectDaskFuture[Outcome]) -> Outcome:
    """What a trial came to; Dask itself would wait for ever for a cluster that has lost all its workers."""
    last_seen = time.monotonic()
    while True:
        with contextlib.suppress(TimeoutError):
            return future.result(timeout=_LOOK)
        with get_dask_client() as client:
            if client.scheduler_info()["workers"]:
                last_seen = time.monotonic()
        if time.monotonic() - last_seen > _WITHOUT_WORKERS:
            raise RepflowError("the cluster has lost all its workers, and no new one came; see what they said last")


@contextlib.contextmanager
def _heard() -> Iterator[None]:
    """What the search says goes to the run's log and moves its progress bar."""
    run_log, progress = get_run_logger(), Progress(STAGE)

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            run_log.info("%s", record.getMessage())
            progress.hear(record.getMessage())

    log, handler = logging.getLogger("repflow"), Handler()
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
