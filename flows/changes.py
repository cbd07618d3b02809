"""Why stages run: what `dvc status` lists as changed, in words."""

import json
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from repflow.fingerprints import differences

_SHOWN = 6
"""Reasons that are listed; a stage that never ran has dozens."""

_NOTES = {"changed command": "its command changed", "always changed": "it runs every time"}


def read_status(text: str) -> dict[str, list[str]]:
    """The reasons for each stage that is not up to date, by address, from the output of `dvc status --json`.

    Lines before the JSON, such as warnings, are ignored.

    Raises:
        ValueError: the output has no JSON object.
    """
    start = text.find("{")
    values: Any = json.loads(text[start:]) if start >= 0 else None
    if not isinstance(values, Mapping):
        raise ValueError("it printed no JSON")
    return {address: list(_reasons(changes)) for address, changes in values.items()}


def _reasons(changes: Iterable[str | Mapping[str, Any]]) -> Iterable[str]:
    for change in changes:
        if isinstance(change, str):
            yield _NOTES.get(change, change)
            continue
        for path, how in change.get("changed deps", {}).items():
            if isinstance(how, Mapping):
                yield from (f"parameter {name} {what}" for name, what in how.items())
            else:
                yield f"{'code' if path.endswith('.py') else 'dependency'} {path} {how}"
        yield from (f"output {path} {how}" for path, how in change.get("changed outs", {}).items())


def changed_modules(project: Path, fingerprints: Iterable[str]) -> list[str]:
    """The modules whose digest is another one than in the last commit, in order, without the name of their package.

    Args:
        project: the folder with dvc.yaml.
        fingerprints: files that `repflow code` writes, relative to the project.
    """
    found: set[str] = set()
    for path in fingerprints:
        command = ["git", "show", f"HEAD:./{path}"]
        committed = subprocess.run(command, cwd=project, capture_output=True, check=False)
        if committed.returncode == 0 and (project / path).exists():
            now = json.loads((project / path).read_text(encoding="utf-8"))
            found.update(differences(json.loads(committed.stdout), now))
    return sorted(name.removeprefix("repflow.") for name in found)


def in_words(reasons: Iterable[str], upstream: Iterable[str] = ()) -> str:
    """The reasons of one stage in one line.

    Args:
        reasons: as `read_status` returns them for the stage.
        upstream: addresses of the stages that it depends on and that this flow run has run.
    """
    every = [*(f"{address} ran before it" for address in upstream), *reasons]
    more = f" and {len(every) - _SHOWN} more" if len(every) > _SHOWN else ""
    return ", ".join(every[:_SHOWN]) + more
