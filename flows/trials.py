"""Trials of a hyperparameter search as Prefect tasks on Dask.

Dask workers import the modules of a task by name. Those of this machine inherit sys.path, with this folder; those of a
cluster need it on their PYTHONPATH.
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
if _FOLDER not in sys.path:  # Prefect removes it after it has loaded a flow from a file
    sys.path.append(_FOLDER)

_POLL_SECONDS = 10.0
"""Between two checks of whether the cluster still has workers."""

_WORKERS_TIMEOUT = 120.0
"""Seconds that it may have none."""


def task_runner(project: Path, workers: int) -> DaskTaskRunner:
    """The cluster that REPFLOW_DASK names, or a local one that ends with the search.

    Args:
        project: its `.repflow/dask` is the scratch folder of local workers.
        workers: how many local workers.
    """
    address = os.environ.get("REPFLOW_DASK")
    if address:
        return DaskTaskRunner(address=address)
    cluster = {
        "n_workers": workers,
        "threads_per_worker": 1,
        "host": "127.0.0.1",
        "dashboard_address": None,
        "memory_limit": 0,  # no limit besides the operating system's
        "local_directory": str(project / ".repflow" / "dask"),
    }
    return DaskTaskRunner(cluster_kwargs=cluster)


@flow(name="trials", flow_run_name="trials", validate_parameters=False)
def trials(project: Path) -> None:
    """Run the search of the stage `tune` in `project`; each trial is a task run of this flow."""
    from repflow.stages import tune
    from repflow.stages.searching.config import TuneConfig

    def runner(config: TuneConfig) -> "contextlib.AbstractContextManager[DaskTrials]":
        expected = tune.fingerprint(config.search)
        checked = CheckedPreparation(
            tune.trial_preparation(config), functools.partial(tune.fingerprint, config.search), expected
        )
        return contextlib.nullcontext(DaskTrials(project, checked))

    with contextlib.chdir(project), _logged():
        tune.run(runner, os.environ.get("REPFLOW_SEARCH_STORAGE"))


class DaskTrials:
    """Runs trials as tasks of the flow in which it is created.

    Args:
        project: the project's folder on the workers' machines.
        prepare: as in `Workers`; must be importable by the workers.
    """

    def __init__(self, project: Path, prepare: Callable[[], Evaluate]):
        self._project, self._prepare = project, prepare

    def outcomes(self, points: Mapping[int, Point], should_continue: ShouldContinue) -> Iterator[tuple[int, Outcome]]:
        """Run trials, and yield number and outcome of each in the order of the numbers.

        Dask runs a trial again on another worker where its worker died.

        Raises:
            RepflowError: a trial failed with an error that the user can fix, or killed several workers.
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
    """The outcome of a trial; Dask itself would wait forever for a cluster that has lost all its workers."""
    last_seen = time.monotonic()
    while True:
        with contextlib.suppress(TimeoutError):
            return future.result(timeout=_POLL_SECONDS)
        with get_dask_client() as client:
            if client.scheduler_info()["workers"]:
                last_seen = time.monotonic()
        if time.monotonic() - last_seen > _WORKERS_TIMEOUT:
            raise RepflowError(f"the cluster has had no workers for {_WORKERS_TIMEOUT:.0f} s; see their logs")


@contextlib.contextmanager
def _logged() -> Iterator[None]:
    """Send the log of the search to the flow run's log, and update its progress bar from it."""
    run_log, progress = get_run_logger(), Progress(STAGE)

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            run_log.info("%s", record.getMessage())
            progress.update(record.getMessage())

    log, handler = logging.getLogger("repflow"), Handler()
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
