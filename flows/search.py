"""The flow `search`: runs the DVC graph like `pipeline`, but the trials of the stage `tune` as tasks on Dask.

    python flows/search.py                                    # Dask workers on this machine
    REPFLOW_DASK=tcp://10.0.0.1:8786 python flows/search.py   # on a cluster with the same checkout

The search is that of the stage (see stages/searching/study.py): its trials are a function of the seed, so the result
does not depend on which Dask worker runs which trial, or on how often one dies. `dvc commit` records the result as a
run of the stage, and the remaining stages run after it.

Trials are stored in `.repflow/tune/` or in the database that REPFLOW_SEARCH_STORAGE names. Both variables are read from
the Prefect worker's environment and cannot be set in the form: a cluster or a database is trusted with code and
credentials.
"""

import argparse
import functools
import os
import sys
from pathlib import Path
from typing import Annotated, Any

from prefect import State, flow, get_run_logger
from prefect.settings import PREFECT_SERVER_ANALYTICS_ENABLED, temporary_settings
from prefect.states import Failed
from pydantic import Field

from concurrency import ConcurrencySlots, ServerUnavailable, cpu_count, create_limits
from graph import read_graph
from parameters import Choices, RunName
from pipeline import DEFAULTS, SERVER_START, bring_up_to_date, in_workspace, run_name
from processes import Processes, with_source
from repflow.cli.surroundings import take_every_character
from repflow.errors import RepflowError
from repflow.hardware.cpu import pin
from repflow.stages.composing.announcement import SAID
from stage_run import WAIT_FOR_LOCK, Stages, cause

pin("avx2")  # for this process and its Dask workers; Dask imports numpy
from trials import STAGE, task_runner, trials  # noqa: E402


@flow(name="search", flow_run_name=run_name)
def search(
    choices: Choices = DEFAULTS,
    name: RunName = "",
    workers: Annotated[int, Field(ge=1, le=1024)] = cpu_count(),
    push: bool = False,
) -> State[Any]:
    """Run all stages of the DVC graph that are not up to date, with the trials of the hyperparameter search on Dask.

    Args:
        choices: configuration to use instead of the defaults in conf/; `tune` selects the search space.
        name: name of the isolated run, in lower-case words with dashes; empty to derive it from the choices.
        workers: Dask worker processes to start on this machine; ignored with a cluster that REPFLOW_DASK names.
        push: push the branch of the isolated run and the DVC cache to their remotes.
    """
    return in_workspace(choices, name, push, functools.partial(_search, workers=workers))


def _search(project: Path, workers: int) -> State[Any]:
    stages = read_graph(project, [STAGE])
    state = bring_up_to_date(project, stages[STAGE].upstream)
    if not state.is_completed():
        return state
    with Processes(project, with_source(project) | SAID) as processes:
        if _is_outdated(processes):
            with ConcurrencySlots(processes.stopped).hold(stages[STAGE].slot, get_run_logger()):
                _check_code(project)
                on_dask = trials.with_options(task_runner=task_runner(project, workers))  # type: ignore[arg-type]
                ended = on_dask(project, return_state=True)
            if not ended.is_completed():
                return Failed(message=ended.message)
            _record(processes)
    return bring_up_to_date(project)


def _is_outdated(processes: Processes) -> bool:
    status = Stages(processes)
    status.read_status(get_run_logger())
    why = status.why(STAGE)
    get_run_logger().info("%s: %s", STAGE, f"why it runs: {why}" if why else "up to date")
    return bool(why)


def _record(processes: Processes) -> None:
    """Record the files that the search wrote as the stage's outputs."""
    lines: list[str] = []
    if processes.dvc([WAIT_FOR_LOCK, "commit", "--force", STAGE], lines.append):
        raise RuntimeError(f"dvc commit: {cause(lines)}")


def _check_code(project: Path) -> None:
    """Raise RepflowError if this process has imported other code than that in `project`, which is what DVC records."""
    import filecmp

    import repflow

    mine, theirs = Path(repflow.__file__).parent, project / "src" / "repflow"
    names = {path.relative_to(mine) for path in mine.rglob("*.py")} | {
        path.relative_to(theirs) for path in theirs.rglob("*.py")
    }
    other = filecmp.cmpfiles(mine, theirs, sorted(map(str, names)), shallow=False)
    if other[1] or other[2]:
        raise RepflowError(
            f"{(other[1] + other[2])[0]}: the checkout's code differs from the run's commit; commit it and start again"
        )


def main() -> int:
    """Run the flow from the command line; the exit code is 0 where every stage is up to date."""
    take_every_character()
    parser = argparse.ArgumentParser(
        description="Run the DVC graph as a Prefect flow, with the search's trials on Dask."
    )
    parser.add_argument("--workers", type=int, default=cpu_count(), help="Dask workers (default: one per processor)")
    given = parser.parse_args()
    with temporary_settings({**SERVER_START, PREFECT_SERVER_ANALYTICS_ENABLED: False}):
        try:
            create_limits({"cpu": None, "gpu": None}, exclusive="PREFECT_API_URL" not in os.environ)
        except ServerUnavailable as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        state: State[Any] = search(workers=given.workers, return_state=True)
    print(f"{state.name}: {state.message}")
    return 0 if isinstance(state, State) and state.is_completed() else 1


if __name__ == "__main__":
    sys.exit(main())
