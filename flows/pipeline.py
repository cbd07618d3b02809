"""The flow `pipeline`: runs the DVC graph under Prefect, with one task run for each stage.

DVC defines the stages, their dependencies and what is cached. The flow decides when stages run, in parallel where the
graph and the concurrency limits allow it, and publishes their results as artifacts.

    python flows/pipeline.py                      # all stages that are not up to date
    python flows/pipeline.py evaluate --slots 4   # one stage and what it depends on, up to four stages at once
    python flows/pipeline.py --project benchmarks/zoo 'learn@digits-*-0'   # some stages of the leaderboard's graph

With PREFECT_API_URL set it reports to that server, without it to a temporary server that ends with the flow run.
"""

import argparse
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
from concurrency import ServerUnavailable, create_limits
from forecast import is_worthwhile, publish_forecast
from graph import Stage, read_graph
from parameters import PROJECT, Choices, GraphFolder, RunName, Target
from processes import Processes, with_source
from repflow.cli.surroundings import take_every_character
from repflow.errors import RepflowError
from repflow.files import NoLocksError, lock_file
from repflow.runs.isolated import default_name, finish, isolated
from repflow.runs.start import uncommitted_warning
from repflow.stages.composing.announcement import SAID, announce
from stage_run import RETRY_DELAYS, Stages, is_retryable
from worker import ends_with_worker

SERVER_START = {PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS: 300}
"""Seconds that a temporary server may take to start on a new database; Prefect's 20 are too few on two cores."""

_SERVER_TIMEOUT = 900.0
"""Seconds that a flow run waits at its end for a server that does not answer."""

DEFAULTS = Choices()
"""Every choice as conf/ has it."""


def run_name() -> str:
    """The name of a flow run: that of its isolated run, or "checkout"."""
    given = flow_run.parameters
    choices = given.get("choices") or DEFAULTS
    overrides = (choices if isinstance(choices, Choices) else Choices.model_validate(choices)).overrides()
    return given.get("name") or (default_name(overrides) if overrides else "checkout")


@flow(name="pipeline", flow_run_name=run_name)
def pipeline(
    choices: Choices = DEFAULTS,
    targets: Sequence[Target] = (),
    name: RunName = "",
    push: bool = False,
    force: bool = False,
    plan: bool = True,
    project: GraphFolder = "",
) -> State[Any]:
    """Run all stages of the DVC graph that are not up to date.

    With every choice at its default and no name, the stages run in the worker's checkout. With another choice or a name
    they run in an isolated run: in a git worktree of its own, which commits its parameters, metrics and plots to the
    branch run/NAME. A run that was cancelled or failed resumes when it is started again with the same parameters.

    Args:
        choices: configuration to use instead of the defaults in conf/.
        targets: stages, or groups of stages, to run with everything that they depend on; empty for the whole graph.
        name: name of the isolated run, in lower-case words with dashes; empty to derive it from the choices.
        push: push the branch of the isolated run and the DVC cache to their remotes.
        force: also run stages that are up to date.
        plan: where something will train, first say what the stages will cost; it takes half a minute.
        project: folder of another DVC graph in the checkout, as benchmarks/zoo; empty for the checkout's own.
    """
    return in_workspace(choices, name, push, lambda checkout: bring_up_to_date(checkout, targets, force, plan, project))


def in_workspace(choices: Choices, name: str, push: bool, work: Callable[[Path], State[Any]]) -> State[Any]:
    """Call `work` with the checkout's folder or, where choices or a name are given, with that of an isolated run.

    Errors that a user can fix, such as invalid parameters or a full disk, are returned as a failed state.
    """
    overrides = choices.overrides()
    with ends_with_worker(get_run_logger()):
        try:
            if overrides or name:
                state = _in_isolated_run(overrides, name, push, work)
            else:
                with _locked_checkout(PROJECT):
                    announce(PROJECT / "conf", "the checkout", get_run_logger().info)
                    state = work(PROJECT)
        except (DvcException, RepflowError, RuntimeError, ValueError) as error:
            state = Failed(message=str(error))
        wait_for_server()
    return state


def _in_isolated_run(overrides: list[str], name: str, push: bool, work: Callable[[Path], State[Any]]) -> State[Any]:
    """Call `work` in an isolated run, and commit its results where it completed."""
    log = get_run_logger()
    with isolated(PROJECT, overrides, name, push) as run:
        log.info("run %s: runs in %s", run.name, run.folder)
        announce(run.folder / "conf", f"run {run.name}:", log.info)
        left_out = run.repository.uncommitted()
        if left_out:
            log.warning(uncommitted_warning(left_out))
        state = work(run.folder)
        if not state.is_completed():
            return Failed(message=f"{state.message}; fix that and start run {run.name} again to resume it")
        message = finish(run, push)
        create_markdown_artifact(f"```\n{message}\n```", key="run-commit", description=f"`git show {run.branch}`")
        return Completed(message=f"{state.message}; committed on {run.branch}")


@contextmanager
def _locked_checkout(project: Path) -> Iterator[None]:
    """Hold the lock of the checkout, so that one flow run at a time runs there.

    The stages of two would wait for each other's DVC locks, and hold concurrency slots meanwhile.
    """
    folder = project / ".repflow"
    folder.mkdir(exist_ok=True)
    with open(folder / "checkout.lock", "a") as lock:
        logged = False
        while True:
            try:
                if lock_file(lock):
                    break
            except NoLocksError as error:
                get_run_logger().warning("%s. Nothing stops a second flow run here", error)
                break
            if not logged:
                get_run_logger().info("waits for another flow run in %s", project)
            logged = True
            time.sleep(0.5)
        yield


def wait_for_server() -> None:
    """Wait until the server answers, so that the final state of the flow run reaches it."""
    end = time.monotonic() + _SERVER_TIMEOUT
    with get_client(sync_client=True) as client:
        while client.api_healthcheck() is not None and time.monotonic() < end:
            time.sleep(1)


def bring_up_to_date(
    checkout: Path, targets: Sequence[str] = (), force: bool = False, plan: bool = False, folder: str = ""
) -> State[Any]:
    """Run the stages of a graph that are not up to date, each as a task run of the flow that calls this.

    Args:
        checkout: the folder with src/ and, unless `folder` is given, dvc.yaml.
        targets: stages ("adapt@dann") or groups of stages ("adapt") to run with everything that they depend on; empty
            for the whole graph.
        force: also run stages that are up to date.
        plan: say what the stages of the checkout's own graph will cost, where something will train.
        folder: the folder with dvc.yaml in the checkout; empty for the checkout itself.
    """
    futures: dict[str, PrefectFuture[State[Any]]] = {}
    project = checkout / folder
    with Processes(project, with_source(checkout) | SAID) as processes:
        processes.prepare_dvc()
        stages = read_graph(project, targets)
        runs = Stages(processes, force)
        run_stage = _stage_task(project, runs)
        runs.read_status(get_run_logger())
        if plan and not folder and is_worthwhile(stages.values(), runs.why, force):
            publish_forecast(processes, stages.values(), force, get_run_logger())
        # All tasks are submitted at once, and each waits in a thread of its own: the concurrency slots limit the load.
        for address, stage in stages.items():
            named = run_stage.with_options(name=address, task_run_name=address)
            futures[address] = named.submit(stage, wait_for=[futures[each] for each in stage.upstream])
        for future in futures.values():
            future.wait()
    return _outcome({address: future.state for address, future in futures.items()})


def _stage_task(project: Path, runs: Stages) -> Any:
    def run_stage(stage: Stage) -> State[Any]:
        log, progress = get_run_logger(), Progress(stage.address)

        def on_line(line: str) -> None:
            log.info("%s", line)
            progress.update(line)

        state = runs.run(stage, log, on_line)
        if state.is_completed():
            publish(project, stage, log)
        return state

    return task(
        cache_policy=NO_CACHE,  # caching is DVC's part
        retries=len(RETRY_DELAYS),
        retry_delay_seconds=RETRY_DELAYS,
        retry_condition_fn=is_retryable,
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
    """Run the flow from the command line; the exit code is 0 where every stage is up to date."""
    take_every_character()
    parser = argparse.ArgumentParser(description="Run the DVC graph as a Prefect flow.")
    about = "stages (adapt@dann), patterns of them (adapt@*) or groups of stages (adapt); default: all"
    parser.add_argument("targets", nargs="*", help=about)
    parser.add_argument(
        "--slots",
        type=int,
        help="concurrency limit of CPU stages (default: the processors)",
    )
    parser.add_argument("--force", action="store_true", help="also run stages that are up to date")
    parser.add_argument("--project", default="", help="folder of another graph in the checkout, as benchmarks/zoo")
    parser.add_argument("--no-plan", action="store_true", help="do not say first what the stages will cost")
    given = parser.parse_args()
    with temporary_settings({**SERVER_START, PREFECT_SERVER_ANALYTICS_ENABLED: False}):
        try:
            create_limits({"cpu": given.slots, "gpu": None}, exclusive="PREFECT_API_URL" not in os.environ)
        except ServerUnavailable as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        state = pipeline(
            targets=given.targets,
            force=given.force,
            plan=not given.no_plan,
            project=given.project.rstrip("/"),
            return_state=True,
        )
    print(f"{state.name}: {state.message}")
    return 0 if state.is_completed() else 1


if __name__ == "__main__":
    sys.exit(main())
