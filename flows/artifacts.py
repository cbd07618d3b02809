"""What a run shows beside its log: metrics as tables, the report, pictures, and how far a long stage is."""

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

REPORT = "reports/report.md"
DATA_DOCS = "reports/data_docs"

_LARGEST_PICTURE = 400_000
"""Bytes; pictures are kept in the server's database."""

_PROGRESS = re.compile(r"\bstep (?P<step>\d+)/(?P<steps>\d+)\b|^tune: (?P<trial>\d+) of (?P<trials>\d+)\b")
_EVERY = 2.0
"""Seconds between two changes of a progress bar."""


def publish(project: Path, stage: Stage, log: "logging.Logger | logging.LoggerAdapter[Any]") -> None:
    """Show what `stage` made: its metrics as tables, its report, its pictures, its data docs.

    A server that does not take them is no reason for the stage to fail; the files are there.
    """
    try:
        for path in stage.metrics:
            if (project / path).is_file():
                values = json.loads((project / path).read_text(encoding="utf-8"))
                create_table_artifact(table_rows(values), key=artifact_key(path), description=f"`{path}`")
        if REPORT in stage.outputs and (project / REPORT).is_file():
            text = (project / REPORT).read_text(encoding="utf-8")
            create_markdown_artifact(text, key=artifact_key(REPORT), description=f"`{REPORT}`")
        show_pictures(project, stage)
        docs = project / DATA_DOCS / stage.address.partition("@")[2] / "index.html"
        if stage.address.startswith("validate@") and docs.is_file():
            key = artifact_key(f"{DATA_DOCS}/{docs.parent.name}")
            create_link_artifact(docs.as_uri(), key=key, link_text=str(docs))
    except Exception as error:
        log.warning("not all of what %s made could be shown here: %s", stage.address, error)


def show_pictures(project: Path, stage: Stage) -> None:
    """Show the pictures among the outputs of `stage` with the run, not with its task.

    What a task made stands in one line behind it in the UI's graph, which dozens of pictures would make as small as a
    stamp.
    """
    with get_client(sync_client=True) as client:
        for picture in pictures(project, stage):
            path = picture.relative_to(project).as_posix()
            address = f"data:image/png;base64,{base64.b64encode(picture.read_bytes()).decode()}"
            client.create_artifact(
                ArtifactCreate(
                    key=artifact_key(path),
                    type="image",
                    description=f"`{path}`",
                    data=address,
                    flow_run_id=UUID(flow_run.id),
                )
            )


def pictures(project: Path, stage: Stage) -> Iterator[Path]:
    """The PNG files among the outputs of `stage`, but those too large for a server's database."""
    for output in stage.outputs:
        path = project / output
        for picture in sorted(path.rglob("*.png")) if path.is_dir() else [path]:
            if picture.suffix == ".png" and picture.is_file() and picture.stat().st_size <= _LARGEST_PICTURE:
                yield picture


class Progress:
    """A progress bar of the run, moved by what a stage says; there is none for a stage that says nothing of it."""

    def __init__(self, address: str):
        self._key = f"progress-{artifact_key(address)}"
        self._bar: UUID | None = None
        self._next = 0.0

    def hear(self, line: str) -> None:
        """Move the bar where `line` tells how far the stage is."""
        share = share_done(line)
        if share is None or (time.monotonic() < self._next and share < 1):
            return
        self._next = time.monotonic() + _EVERY
        with suppress(HTTPError):  # a server that is away for a while misses a move of the bar
            if self._bar is None:
                bar = create_progress_artifact(100 * share, key=self._key, description=line)
                assert isinstance(bar, UUID)
                self._bar = bar
            else:
                update_progress_artifact(self._bar, 100 * share, description=line)


def share_done(line: str) -> float | None:
    """How much of a stage is done by what it says, from 0 to 1; None where it does not say."""
    found = _PROGRESS.search(line)
    if found is None:
        return None
    done, of = (int(text) for text in found.groups() if text is not None)
    return min(1.0, done / of) if of else None


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
