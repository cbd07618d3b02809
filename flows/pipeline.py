"""When and where the graph runs: a Prefect flow with one task for each stage of the DVC graph.

DVC says what the stages are, what they wait for and what is cached; this flow only starts them, side by side where the
graph lets them and the machine's slots allow, and shows what came of it.

    python flows/pipeline.py                      # everything that is not up to date
    python flows/pipeline.py evaluate --slots 4   # one stage and what it needs, up to four at once

With PREFECT_API_URL set it reports to that server, without it to one that lasts as long as the run.
"""

import argparse
import fcntl
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dvc.exceptions import DvcException
from prefect import State, flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.futures import PrefectFuture
from prefect.runtime import flow_run
from prefect.settings import (
    PREFECT_SERVER_ANALYTICS_ENABLED,
    PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS,
    temporary_settings,
)
from prefect.states import Completed, Failed

from artifacts import Progress, publish
from graph import Stage, read_graph
from parameters import PROJECT, Choices, RunName, Target
from processes import Processes, with_source
from repflow.errors import RepflowError
from repflow.runs.isolated import finish, isolated, name_of
from repflow.runs.start import without
from slots import NoServer, create_limits
from stage_run import RETRY_DELAYS, Stages, worth_retrying
from worker import ends_with_worker

SERVER_START = {PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS: 300}
"""Seconds that a server on a new database may take to come up; Prefect's own 20 are too few on two cores."""

_SERVER_AWAY = 900.0
"""Seconds that a run waits at its end for a server that does not answer."""


AS_IT_IS = Choices()


def run_name() -> str:
    """The name of a flow run: its isolated run's, or "checkout"."""
    given = flow_run.parameters
    choices = given.get("choices") or AS_IT_IS
    overrides = (choices if isinstance(choices, Choices) else Choices.model_validate(choices)).overrides()
    return given.get("name") or (name_of(overrides) if overrides else "checkout")


@flow(name="pipeline", flow_run_name=run_name)
def pipeline(
    choices: Choices = AS_IT_IS,
    targets: Sequence[Target] = (),
    name: RunName = "",
    push: bool = False,
    force: bool = False,
) -> State[Any]:
    """Bring the checkout up to date or, with other choices or a name, make an isolated run beside it.

    An isolated run works in a git worktree of its own and commits its parameters, metrics and plots on the branch
    run/NAME. One that was stopped goes on when it is started again.

    Args:
        choices: what is to differ from the defaults in conf/.
        targets: stages or groups of them to bring up to date, with all that they need; none for the whole graph.
        name: of an isolated run, lower-case words with dashes; empty for one made from the choices.
        push: push the branch of an isolated run, and the DVC cache.
        force: run stages that are up to date, too.
    """
    return in_its_place(choices, name, push, lambda project: bring_up_to_date(project, targets, force))


def in_its_place(choices: Choices, name: str, push: bool, work: Callable[[Path], State[Any]]) -> State[Any]:
    """Call `work` with the checkout or, where choices or a name are given, with an isolated run's folder.

    What the user or the machine can mend comes back as a failed state that says so.
    """
    overrides = choices.overrides()
    with ends_with_worker(get_run_logger()):
        try:
            if overrides or name:
                state = _beside(overrides, name, push, work)
            else:
                with _checkout(PROJECT):
                    state = work(PROJECT)
        except (DvcException, RepflowError, RuntimeError, ValueError) as error:
            state = Failed(message=str(error))
        wait_for_server()
    return state


def _beside(overrides: list[str], name: str, push: bool, work: Callable[[Path], State[Any]]) -> State[Any]:
    """An isolated run."""
    log = get_run_logger()
    with isolated(PROJECT, overrides, name, push) as run:
        log.info("run %s: works in %s", run.name, run.folder)
        left_out = run.repository.uncommitted()
        if left_out:
            log.warning(without(left_out))
        state = work(run.folder)
        if not state.is_completed():
            return Failed(message=f"{state.message}; once that is mended, run {run.name} goes on when started again")
        message = finish(run, push)
        create_markdown_artifact(f"```\n{message}\n```", key="run-commit", description=f"`git show {run.branch}`")
        return Completed(message=f"{state.message}; committed on {run.branch}")


@contextmanager
def _checkout(project: Path) -> Iterator[None]:
    """One flow at a time in the user's checkout; stages of two would wait for each other's locks."""
    folder = project / ".repflow"
    folder.mkdir(exist_ok=True)
    with open(folder / "checkout.lock", "a") as lock:
        told = False
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not told:
                    get_run_logger().info("waits for another run that is at work in %s", project)
                told = True
                time.sleep(0.5)
        yield


def wait_for_server() -> None:
    """Wait until the server answers, so that how the run ended is told to somebody."""
    end = time.monotonic() + _SERVER_AWAY
    with get_client(sync_client=True) as client:
        while client.api_healthcheck() is not None and time.monotonic() < end:
            time.sleep(1)


def bring_up_to_date(project: Path, targets: Sequence[str] = (), force: bool = False) -> State[Any]:
    """Run the stages of the graph in `project` that are not up to date, each as a task of the flow that calls this.

    Args:
        project: the folder with dvc.yaml.
        targets: stages ("adapt@dann") or groups of them ("adapt"); all that they need runs, too.
        force: run stages that are up to date, too.
    """
    futures: dict[str, PrefectFuture[State[Any]]] = {}
    with Processes(project, with_source(project)) as processes:
        processes.prepare_dvc()
        stages = read_graph(project, targets)
        runs = Stages(processes, force)
        run_stage = _stage_task(project, runs)
        runs.look(get_run_logger())
        # All tasks are submitted at once; a thread each waits, and the slots are what limits the load.
        for address, stage in stages.items():
            named = run_stage.with_options(name=address, task_run_name=address)
            futures[address] = named.submit(stage, wait_for=[futures[each] for each in stage.upstream])
        for future in futures.values():
            future.wait()
    return _outcome({address: future.state for address, future in futures.items()})


def _stage_task(project: Path, runs: Stages) -> Any:
    def run_stage(stage: Stage) -> State[Any]:
        log, progress = get_run_logger(), Progress(stage.address)

        def show(line: str) -> None:
            log.info("%s", line)
            progress.hear(line)

        state = runs.run(stage, log, show)
        if state.is_completed():
            publish(project, stage, log)
        return state

    return task(
        cache_policy=NO_CACHE,  # DVC decides what is cached
        retries=len(RETRY_DELAYS),
        retry_delay_seconds=RETRY_DELAYS,
        retry_condition_fn=worth_retrying,
    )(run_stage)


def _outcome(states: Mapping[str, State[Any]]) -> State[Any]:
    failed = [state.message or address for address, state in states.items() if state.is_failed()]
    waiting = sum(not state.is_final() for state in states.values())
    if failed or waiting:
        skipped = f"; {waiting} more did not run" if waiting else ""
        return Failed(message="; ".join(failed) + skipped)
    cached = sum(state.name == "Cached" for state in states.values())
    return Completed(message=f"{len(states)} stages, {cached} of them cached")


def main() -> int:
    """Run the flow from the command line; 0 where every stage is up to date."""
    parser = argparse.ArgumentParser(description="Bring the DVC graph up to date under Prefect.")
    parser.add_argument("targets", nargs="*", help="stages (adapt@dann) or groups of them (adapt); none for all")
    parser.add_argument("--slots", type=int, help="how many stages may run at once on the server (default: processors)")
    parser.add_argument("--force", action="store_true", help="run stages that are up to date, too")
    given = parser.parse_args()
    with temporary_settings({**SERVER_START, PREFECT_SERVER_ANALYTICS_ENABLED: False}):
        try:
            create_limits({"cpu": given.slots, "gpu": None}, alone="PREFECT_API_URL" not in os.environ)
        except NoServer as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        state = pipeline(targets=given.targets, force=given.force, return_state=True)
    print(f"{state.name}: {state.message}")
    return 0 if state.is_completed() else 1


if __name__ == "__main__":
    sys.exit(main())
