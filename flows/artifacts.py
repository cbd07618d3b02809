"""Publishes a stage's results as Prefect artifacts: metrics as tables, the report, figures, and a progress bar."""

import base64
import json
import logging
import math
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import UUID

from httpx import HTTPError
from prefect.artifacts import (
    create_link_artifact,
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactCreate
from prefect.runtime import flow_run

from graph import Stage
from repflow.stages.verdict import verdicts

EVALUATION = "metrics/evaluate.json"
REPORT = "reports/report.md"
DATA_DOCS = "reports/data_docs"

_MAX_FIGURE_BYTES = 400_000
"""Of a figure that is published: Prefect stores artifacts in the server's database."""

_PROGRESS = re.compile(r"\bstep (?P<step>\d+)/(?P<steps>\d+)\b|^tune: (?P<trial>\d+) of (?P<trials>\d+)\b")
_UPDATE_SECONDS = 2.0
"""Between two updates of a progress bar."""


def publish(project: Path, stage: Stage, log: "logging.Logger | logging.LoggerAdapter[Any]") -> None:
    """Publish the results of `stage` as artifacts: metrics, the report, figures, a link to the Data Docs.

    A failure is only logged, because the stage has succeeded and its files are on disk.
    """
    try:
        for path in stage.metrics:
            if (project / path).is_file():
                values = json.loads((project / path).read_text(encoding="utf-8"))
                create_table_artifact(table_rows(values), key=artifact_key(path), description=f"`{path}`")
        if REPORT in stage.outputs and (project / REPORT).is_file():
            text = (project / REPORT).read_text(encoding="utf-8")
            create_markdown_artifact(text, key=artifact_key(REPORT), description=f"`{REPORT}`")
        if EVALUATION in stage.metrics and (project / EVALUATION).is_file():
            publish_verdict(json.loads((project / EVALUATION).read_text(encoding="utf-8")))
        publish_figures(project, stage)
        docs = project / DATA_DOCS / stage.address.partition("@")[2] / "index.html"
        if stage.address.startswith("validate@") and docs.is_file():
            key = artifact_key(f"{DATA_DOCS}/{docs.parent.name}")
            create_link_artifact(docs.as_uri(), key=key, link_text=str(docs))
    except Exception as error:
        log.warning("not all results of %s could be published as artifacts: %s", stage.address, error)


def publish_verdict(evaluation: Mapping[str, Any]) -> None:
    """Publish what the test results say in words: each model beside the baseline, and what to try where it is not
    above it; nothing where there is no baseline."""
    lines = verdicts(evaluation)
    if lines:
        text = "\n".join(["# Beside the baseline", "", *(f"- {line}" for line in lines), ""])
        create_markdown_artifact(text, key="beside-the-baseline", description=f"`{EVALUATION}` in words")


def publish_figures(project: Path, stage: Stage) -> None:
    """Publish the figures of `stage` as artifacts of the flow run, not of its task run.

    The UI draws a task run's artifacts beside it in the graph, which dozens of figures would make unreadably small.
    `create_image_artifact` always links to the task run, so this calls the API itself.
    """
    with get_client(sync_client=True) as client:
        for figure in figures(project, stage):
            path = figure.relative_to(project).as_posix()
            address = f"data:image/png;base64,{base64.b64encode(figure.read_bytes()).decode()}"
            client.create_artifact(
                ArtifactCreate(
                    key=artifact_key(path),
                    type="image",
                    description=f"`{path}`",
                    data=address,
                    flow_run_id=UUID(flow_run.id),
                )
            )


def figures(project: Path, stage: Stage) -> Iterator[Path]:
    """The PNG files among the outputs of `stage` that are small enough for the server's database."""
    for output in stage.outputs:
        path = project / output
        for figure in sorted(path.rglob("*.png")) if path.is_dir() else [path]:
            if figure.suffix == ".png" and figure.is_file() and figure.stat().st_size <= _MAX_FIGURE_BYTES:
                yield figure


class Progress:
    """A progress artifact of a stage, created with the first line of its output that reports progress.

    Args:
        address: the stage.
    """

    def __init__(self, address: str):
        self._key = f"progress-{artifact_key(address)}"
        self._bar: UUID | None = None
        self._next = 0.0

    def update(self, line: str) -> None:
        """Update the progress bar where `line`, of the stage's output, reports progress."""
        fraction = fraction_done(line)
        if fraction is None or (time.monotonic() < self._next and fraction < 1):
            return
        self._next = time.monotonic() + _UPDATE_SECONDS
        with suppress(HTTPError):  # a server that does not answer misses one update
            if self._bar is None:
                bar = create_progress_artifact(100 * fraction, key=self._key, description=line)
                assert isinstance(bar, UUID)
                self._bar = bar
            else:
                update_progress_artifact(self._bar, 100 * fraction, description=line)


def fraction_done(line: str) -> float | None:
    """The fraction of a stage that is done, from 0 to 1, by a line of its output; None where the line does not tell."""
    found = _PROGRESS.search(line)
    if found is None:
        return None
    done, of = (int(text) for text in found.groups() if text is not None)
    return min(1.0, done / of) if of else None


def artifact_key(path: str) -> str:
    """The artifact key of a file, lower-case words with dashes: "metrics-adapt-dann" for "metrics/adapt/dann.json"."""
    words = "".join(letter if letter.isalnum() and letter.isascii() else " " for letter in path.rsplit(".", 1)[0])
    return "-".join(words.lower().split())


def table_rows(values: Any, key: str = "") -> list[dict[str, Any]]:
    """Nested metrics as rows of a table, one for each value, with dots between the levels of its name."""
    if isinstance(values, Mapping):
        return [row for name, each in values.items() for row in table_rows(each, f"{key}.{name}" if key else str(name))]
    if isinstance(values, list):
        return [row for number, each in enumerate(values) for row in table_rows(each, f"{key}.{number}")]
    if isinstance(values, float) and not math.isfinite(values):
        values = str(values)  # JSON has no NaN and no infinity
    return [{"metric": key, "value": values}]
