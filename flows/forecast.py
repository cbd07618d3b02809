"""Says at the start of a flow run what it will cost: `repflow plan`, as log lines and as an artifact."""

import json
import logging
import sys
from collections.abc import Iterable
from typing import Any

from prefect.artifacts import create_table_artifact

from graph import Stage
from processes import Processes, Stopped
from repflow.stages.planning.words import in_a_sentence, total_of

TRAININGS = ("pretrain", "tune", "finetune", "adapt")
"""Stages whose time is worth a forecast, which itself takes some seconds."""

Log = logging.Logger | logging.LoggerAdapter[Any]


def publish_forecast(processes: Processes, stages: Iterable[Stage], force: bool, log: Log) -> None:
    """Log what the stages that run will cost, and publish it as the artifact `plan`.

    A failure is only logged: the stages themselves say what is wrong.

    Args:
        processes: runs `repflow plan` in the project's folder.
        stages: the stages of the flow run.
        force: whether stages that are up to date run, too.
        log: of the flow run.
    """
    lines: list[str] = []
    code = "from repflow.cli.app import app; app()"
    try:
        ended = processes.run(
            [sys.executable, "-c", code, "plan", "--json", *(["--all"] if force else [])], lines.append
        )
        text = "\n".join(lines)
        if ended:
            log.warning("no plan: %s", lines[-1] if lines else f"exit code {ended}")
            return
        addresses = {stage.address for stage in stages}
        rows = [row for row in json.loads(text[text.index("{\n") :])["stages"] if row["stage"] in addresses]
        log.info("plan: %s", in_a_sentence(total_of(rows)))
        create_table_artifact(rows, key="plan", description="`repflow plan`: what each stage will cost")
    except Stopped:
        raise
    except Exception as error:
        log.warning("no plan: %s", error)


def is_worthwhile(stages: Iterable[Stage], is_outdated: Any, force: bool) -> bool:
    """Whether something may train; where code changed, perhaps only in a comment, `repflow plan` finds out.

    Args:
        stages: the stages of the flow run, in topological order.
        is_outdated: given an address, whether DVC says that the stage is not up to date.
        force: whether stages that are up to date run, too.
    """
    running: set[str] = set()
    for stage in stages:
        if force or is_outdated(stage.address) or running & set(stage.upstream):
            running.add(stage.address)
    return any(address.partition("@")[0] in TRAININGS for address in running)
