"""The commit message of a run, for its reviewers: changed parameters and changed metrics."""

import json
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from repflow.errors import RepflowError
from repflow.runs.repository import git
from repflow.stages.compose import differences

_WIDTH = 72
_MOST = 40
"""Maximum number of listed parameters; with another data set or method, hundreds change."""

_MAIN = re.compile(r"(^|\.)(accuracy|gain\.value|gap_closed\.value|best|gain)$")
"""The metrics that are listed; all others are in the files."""


def run_message(project: Path, name: str, base: str, overrides: Sequence[str]) -> str:
    """The commit message for the files in the worktree's folder `project`.

    Args:
        project: the folder with params.yaml and metrics/.
        name: name of the run.
        base: the commit that it started from.
        overrides: the Hydra overrides.
    """
    subject = textwrap.shorten(f"run {name}: {' '.join(overrides) or 'no overrides'}", _WIDTH, placeholder=" ...")
    start = git(project, "show", "--no-patch", "--format=%h (%s)", base)
    parts = [subject, f"Starts from {start}."]
    before = yaml.safe_load(_file_at(project, base, "params.yaml") or "{}")
    after = yaml.safe_load((project / "params.yaml").read_text(encoding="utf-8"))
    parts.append(_listed("Parameters", differences(before, after)))
    parts.append(_listed("Metrics", list(_metrics(project, base))))
    return "\n\n".join(parts) + "\n"


def _listed(title: str, lines: Sequence[str]) -> str:
    if not lines:
        return f"{title}: unchanged."
    more = [f"and {len(lines) - _MOST} more"] if len(lines) > _MOST else []
    return "\n".join([f"Changed {title.lower()}:", *(f"  {line}" for line in [*lines[:_MOST], *more])])


def _metrics(project: Path, base: str) -> Iterator[str]:
    for path in sorted((project / "metrics").rglob("*.json")):
        name = path.relative_to(project).as_posix()
        old = _numbers(json.loads(_file_at(project, base, name) or "{}"))
        new = _numbers(json.loads(path.read_text(encoding="utf-8")))
        for key in [*new, *(key for key in old if key not in new)]:
            if _MAIN.search(key) and old.get(key) != new.get(key):
                low, high = (new.get(f"{key.rpartition('.')[0]}.{end}") for end in ("low", "high"))
                interval = f" ({low:g} to {high:g})" if low is not None and high is not None else ""
                yield f"{name} {key}: {_formatted(old.get(key))} -> {_formatted(new.get(key))}{interval}"


def _formatted(value: float | None) -> str:
    return "none" if value is None else f"{value:g}"


def _numbers(values: Any, key: str = "") -> dict[str, float]:
    if isinstance(values, Mapping):
        return {
            name: number
            for part, value in values.items()
            for name, number in _numbers(value, f"{key}.{part}" if key else str(part)).items()
        }
    return {key: float(values)} if isinstance(values, int | float) and not isinstance(values, bool) else {}


def _file_at(project: Path, commit: str, name: str) -> str:
    """The text of a file of the project at `commit`; "" if it did not exist there."""
    try:
        return git(project, "show", f"{commit}:./{name}")
    except RepflowError:
        return ""
