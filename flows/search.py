"""The search of the stage `tune` on a cluster: the same graph, the same outcome, the trials as tasks on Dask.

    python flows/search.py                                # workers of this machine
    REPFLOW_DASK=tcp://10.0.0.1:8786 python flows/search.py   # those of a cluster with the same checkout

Which trials there are and what becomes of them is `tune`'s own (see stages/searching/study.py): a function of the seed,
so it does not matter which worker runs what, nor how often one dies. What is found is recorded as DVC's own run of the
stage would be, and the rest of the graph goes on with it.

Where the trials are kept is `.repflow/tune/`, or the database that REPFLOW_SEARCH_STORAGE names. Both names are the
worker's to say, not the form's: who connects to a cluster or a database trusts it with code and keys.
"""

import argparse
import contextlib
import functools
import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from prefect import State, flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture
from prefect.settings import PREFECT_SERVER_ANALYTICS_ENABLED, temporary_settings
from prefect.states import Failed
from prefect_dask.task_runners import DaskTaskRunner
from pydantic import Field

from artifacts import Progress
from graph import read_graph
from parameters import Choices, RunName
from pipeline import AS_IT_IS, SERVER_START, bring_up_to_date, in_its_place, run_name
from processes import Processes, with_source
from repflow.errors import RepflowError
from repflow.stages.remote_trials import Checked, run_trial
from repflow.stages.searching.space import Point
from repflow.stages.searching.workers import Evaluate, Judge, Outcome
from slots import Slots, create_limits, processors
from stage_run import DVC, Stages, cause

STAGE = "tune"


@flow(name="search", flow_run_name=run_name)
def search(
    choices: Choices = AS_IT_IS,
    name: RunName = "",
    workers: Annotated[int, Field(ge=1, le=1024)] = processors(),
    push: bool = False,
) -> State[Any]:
    """Bring the graph up to date as the flow `pipeline` does, with the search's trials on Dask.

    Args:
        choices: what is to differ from the defaults in conf/; `tune` says what is searched.
        name: of an isolated run, lower-case words with dashes; empty for one made from the choices.
        workers: processes that run trials on this machine; a cluster that REPFLOW_DASK names has its own.
        push: push the branch of an isolated run, and the DVC cache.
    """
    return in_its_place(choices, name, push, functools.partial(_search, workers=workers))


def _search(project: Path, workers: int) -> State[Any]:
    stages = read_graph(project, [STAGE])
    state = bring_up_to_date(project, stages[STAGE].upstream)
    if not state.is_completed():
        return state
    processes = Processes(project, with_source(project))
    try:
        if _is_to_run(processes):
            with Slots(processes.stopped).one(stages[STAGE].slot, get_run_logger()):
                _check_code(project)
                on_dask = trials.with_options(task_runner=task_runner(project, workers))  # type: ignore[arg-type]
                ended = on_dask(project, return_state=True)
            if not ended.is_completed():
                return Failed(message=ended.message)
            _record(processes)
    except BaseException:
        processes.stop()
        raise
    return bring_up_to_date(project)


def _is_to_run(processes: Processes) -> bool:
    look = Stages(processes)
    look.look(get_run_logger())
    why = look.why(STAGE)
    get_run_logger().info("%s: %s", STAGE, f"why it runs: {why}" if why else "up to date")
    return bool(why)


def _record(processes: Processes) -> None:
    """Have DVC take what was found as the stage's outputs."""
    lines: list[str] = []
    if processes.run([*DVC, "commit", "--force", STAGE], lines.append):
        raise RuntimeError(f"dvc commit: {cause(lines)}")


def _check_code(project: Path) -> None:
    """Raise RepflowError where this process runs other code than stands in `project`: DVC would record the latter."""
    import filecmp

    import repflow

    mine, theirs = Path(repflow.__file__).parent, project / "src" / "repflow"
    names = {path.relative_to(mine) for path in mine.rglob("*.py")} | {
        path.relative_to(theirs) for path in theirs.rglob("*.py")
    }
    other = filecmp.cmpfiles(mine, theirs, sorted(map(str, names)), shallow=False)
    if other[1] or other[2]:
        raise RepflowError(
            f"{(other[1] + other[2])[0]}: the checkout has other code than the run's commit; commit it, and start again"
        )


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
        checked = Checked(tune.trials_of(config), functools.partial(tune.fingerprint, config.search), expected)
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

    def outcomes(self, points: Mapping[int, Point], judge: Judge) -> Iterator[tuple[int, Outcome]]:
        """Run the trials, by their numbers. One whose worker dies is run again elsewhere; Dask sees to it.

        Raises:
            RepflowError: a trial met an error of the user's, or several workers died of it.
        """
        run = task(cache_policy=NO_CACHE, persist_result=False)(run_trial)
        futures: dict[int, PrefectFuture[Outcome]] = {
            number: run.with_options(name=f"trial {number}", task_run_name=f"trial {number}").submit(
                self._project, self._prepare, point, judge
            )
            for number, point in sorted(points.items())
        }
        for number, future in futures.items():
            try:
                yield number, future.result()
            except RepflowError:
                raise
            except Exception as error:
                raise RepflowError(
                    f"trial {number}: {error or type(error).__name__}; finished trials are kept for the next run"
                ) from error


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


def main() -> int:
    """Run the flow from the command line; 0 where the graph is up to date."""
    parser = argparse.ArgumentParser(description="Bring the DVC graph up to date, with the search's trials on Dask.")
    parser.add_argument("--workers", type=int, default=processors(), help="processes for trials (default: processors)")
    given = parser.parse_args()
    with temporary_settings({**SERVER_START, PREFECT_SERVER_ANALYTICS_ENABLED: False}):
        create_limits({"cpu": None, "gpu": None}, alone="PREFECT_API_URL" not in os.environ)
        state: State[Any] = search(workers=given.workers, return_state=True)
    print(f"{state.name}: {state.message}")
    return 0 if isinstance(state, State) and state.is_completed() else 1


if __name__ == "__main__":
    sys.exit(main())
