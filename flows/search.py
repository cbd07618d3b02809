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
import functools
import os
import sys
from pathlib import Path
from typing import Annotated, Any

from prefect import State, flow, get_run_logger
from prefect.settings import PREFECT_SERVER_ANALYTICS_ENABLED, temporary_settings
from prefect.states import Failed
from pydantic import Field

from graph import read_graph
from parameters import Choices, RunName
from pipeline import AS_IT_IS, SERVER_START, bring_up_to_date, in_its_place, run_name
from processes import Processes, with_source
from repflow.errors import RepflowError
from repflow.hardware.cpu import pin
from slots import NoServer, Slots, create_limits, processors
from stage_run import WAITING, Stages, cause

pin("avx2")  # for this process and its Dask workers; Dask imports numpy
from trials import STAGE, task_runner, trials  # noqa: E402


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
    with Processes(project, with_source(project)) as processes:
        if _is_to_run(processes):
            with Slots(processes.stopped).one(stages[STAGE].slot, get_run_logger()):
                _check_code(project)
                on_dask = trials.with_options(task_runner=task_runner(project, workers))  # type: ignore[arg-type]
                ended = on_dask(project, return_state=True)
            if not ended.is_completed():
                return Failed(message=ended.message)
            _record(processes)
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
    if processes.dvc([WAITING, "commit", "--force", STAGE], lines.append):
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


def main() -> int:
    """Run the flow from the command line; 0 where the graph is up to date."""
    parser = argparse.ArgumentParser(description="Bring the DVC graph up to date, with the search's trials on Dask.")
    parser.add_argument("--workers", type=int, default=processors(), help="processes for trials (default: processors)")
    given = parser.parse_args()
    with temporary_settings({**SERVER_START, PREFECT_SERVER_ANALYTICS_ENABLED: False}):
        try:
            create_limits({"cpu": None, "gpu": None}, alone="PREFECT_API_URL" not in os.environ)
        except NoServer as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        state: State[Any] = search(workers=given.workers, return_state=True)
    print(f"{state.name}: {state.message}")
    return 0 if isinstance(state, State) and state.is_completed() else 1


if __name__ == "__main__":
    sys.exit(main())
