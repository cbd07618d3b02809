"""When and where the graph runs: a Prefect flow with one task for each stage of the DVC graph.

DVC says what the stages are, what they wait for and what is cached; this flow only starts them, side by side where the
graph lets them, and shows what came of it.

    python flows/pipeline.py                      # everything that is not up to date
    python flows/pipeline.py evaluate --slots 4   # one stage and what it needs, up to four at once

With PREFECT_API_URL set it reports to that server, without it to one that lasts as long as the run.
"""

import argparse
import json
import math
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

from prefect import State, flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture
from prefect.settings import (
    PREFECT_SERVER_ANALYTICS_ENABLED,
    PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS,
    temporary_settings,
)
from prefect.states import Cancelled, Completed, Failed
from pydantic import Field

from graph import Stage, read_graph
from processes import Processes, Stopped

PROJECT = Path(__file__).resolve().parents[1]
REPORT = "reports/report.md"
_SERVER_START = 300
"""Seconds that a server on a new database may take to come up; Prefect's own 20 are too few on two cores."""


@flow(name="pipeline")
def pipeline(
    targets: list[str] | None = None,
    slots: Annotated[int, Field(ge=1)] = 2,
    force: bool = False,
    project: Path = PROJECT,
) -> State[Any]:
    """Bring the graph up to date.

    Args:
        targets: stages ("adapt@dann") or groups of them ("adapt") to bring up to date, with all that they need; none
            for the whole graph.
        slots: how many stages may run at once.
        force: run stages that are up to date, too.
        project: the folder with dvc.yaml.
    """
    stages = read_graph(project, targets or ())
    # All tasks are submitted at once; a thread each waits, and the slots are what limits the load.
    processes = Processes(project, slots)
    run_stage = task(cache_policy=NO_CACHE)(_stage_runner(processes, force))
    futures: dict[str, PrefectFuture[State[Any]]] = {}
    try:
        for address, stage in stages.items():
            named = run_stage.with_options(name=address, task_run_name=address)
            futures[address] = named.submit(address, wait_for=[futures[each] for each in stage.upstream])
        for future in futures.values():
            future.wait()
    except BaseException:
        processes.stop()
        raise
    states = {address: future.state for address, future in futures.items()}
    publish(project, [stages[address] for address, state in states.items() if state.is_completed()])
    return _outcome(states)


def _stage_runner(processes: Processes, force: bool) -> Any:
    """The function that a task runs: one stage, by DVC."""

    def run_stage(address: str) -> State[Any]:
        log, lines = get_run_logger(), []

        def show(line: str) -> None:
            lines.append(line)
            log.info("%s", line)

        # `-s`: only single stages can run side by side, whole branches would wait for each other's lock on the stages
        # that they share. `-m dvc`: the DVC of this Python, whatever the PATH says.
        command = [sys.executable, "-m", "dvc", "--wait-for-lock", "repro", "--single-item", address]
        try:
            code = processes.run([*command, "--force"] if force else command, show)
        except Stopped:
            return Cancelled(message="the run was stopped")
        if code:
            return Failed(message=f"{address}: {cause(lines)}")
        if any(mark in line for line in lines for mark in _UNCHANGED):
            return Completed(name="Cached", message="up to date, or restored from DVC's cache")
        return Completed(message="ran")

    return run_stage


_UNCHANGED = ("didn't change, skipping", "is cached - skipping run")
"""What DVC says of a stage that it did not run."""


def cause(lines: list[str]) -> str:
    """Why a stage failed, in one line: its own error, else DVC's, which names the exit code."""
    own = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    of_dvc = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return (own or of_dvc or lines or ["it said nothing"])[-1]


def publish(project: Path, stages: Iterable[Stage]) -> None:
    """Show the metrics of `stages` as tables and the report as a page of the run."""
    for stage in stages:
        for path in stage.metrics:
            if (project / path).is_file():
                values = json.loads((project / path).read_text(encoding="utf-8"))
                create_table_artifact(table_rows(values), key=artifact_key(path), description=f"`{path}`")
        if REPORT in stage.outputs and (project / REPORT).is_file():
            text = (project / REPORT).read_text(encoding="utf-8")
            create_markdown_artifact(text, key=artifact_key(REPORT), description=f"`{REPORT}`")


def artifact_key(path: str) -> str:
    """The key of a file's artifact: lower-case words with dashes, as "metrics-adapt-dann"."""
    words = "".join(letter if letter.isalnum() and letter.isascii() else " " for letter in path.rsplit(".", 1)[0])
    return "-".join(words.lower().split())


def table_rows(values: Any, key: str = "") -> list[dict[str, Any]]:
    """Nested metrics as rows of a table, one for each number, with points between the levels of its name."""
    if isinstance(values, Mapping):
        return [row for name, each in values.items() for row in table_rows(each, f"{key}.{name}" if key else str(name))]
    if isinstance(values, list):
        return [row for number, each in enumerate(values) for row in table_rows(each, f"{key}.{number}")]
    if isinstance(values, float) and not math.isfinite(values):
        values = str(values)  # JSON has no such number
    return [{"metric": key, "value": values}]


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
    parser.add_argument("--slots", type=int, default=2, help="how many stages may run at once (default: 2)")
    parser.add_argument("--force", action="store_true", help="run stages that are up to date, too")
    parser.add_argument("--project", type=Path, default=PROJECT, help="folder with dvc.yaml (default: this one)")
    given = parser.parse_args()
    settings = {
        PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS: _SERVER_START,
        PREFECT_SERVER_ANALYTICS_ENABLED: False,
    }
    with temporary_settings(settings):
        state = pipeline(
            given.targets, slots=given.slots, force=given.force, project=given.project.resolve(), return_state=True
        )
    print(f"{state.name}: {state.message}")
    return 0 if state.is_completed() else 1


if __name__ == "__main__":
    sys.exit(main())
