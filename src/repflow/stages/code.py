"""The stage `code`: fingerprints of the code of each stage, so that a stage depends only on what its code does.

`code/STAGE.json` maps every module that the stage runs to a digest (`repflow.fingerprints`). Comments, docstrings and
layout do not count. For a training stage, the modules of the methods selected in params.yaml are included.
"""

import contextlib
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from repflow.errors import CodeChanged
from repflow.files import writing
from repflow.fingerprints import Files, Source, code_digest, differences, fingerprint
from repflow.methods.descriptions import description_in
from repflow.methods.registry import modules_in
from repflow.stages import paths
from repflow.stages.parameters import read_all, select

LOG = logging.getLogger(__name__)

STAGES: Mapping[str, str | None] = {
    "ingest": None,
    "validate": None,
    "split": None,
    "baseline": None,
    "pretrain": "pretrain",
    "probe": None,
    "tune": "finetune",
    "finetune": "finetune",
    "adapt": "adapt",
    "evaluate": None,
    "select": None,
    "report": None,
}
"""Stage to the section of params.yaml that selects its method, if any; `adapt` has one section per method."""


def run() -> None:
    """Rewrite `code/`, and log the changed modules of each stage."""
    found = fingerprints(read_all(), Files(paths.SOURCE))
    before = {path.relative_to(paths.CODE).with_suffix(""): read(path) for path in paths.CODE.rglob("*.json")}
    with writing(paths.CODE, folder=True) as fresh:
        for name, digests in found.items():
            path = fresh / f"{name}.json"
            path.parent.mkdir(exist_ok=True)
            path.write_text(json.dumps(digests, indent=1) + "\n", encoding="utf-8")
    for name, digests in found.items():
        changed = differences(before.get(Path(name), digests), digests)
        if changed:
            LOG.info("code: %s: %s", name, listed(changed))


def fingerprints(parameters: Mapping[str, Any], source: Source) -> dict[str, dict[str, str]]:
    """Stage, as "pretrain" or "adapt/dann", to the fingerprint of all code that it runs."""
    return {name: _fingerprint(name, parameters, source) for name in _names(parameters)}


def _names(parameters: Mapping[str, Any]) -> Iterator[str]:
    for stage in STAGES:
        if stage == "adapt":
            yield from (f"adapt/{key}" for key in parameters.get("adapt") or {})
        else:
            yield stage


def _fingerprint(name: str, parameters: Mapping[str, Any], source: Source) -> dict[str, str]:
    stage, _, entry = name.partition("/")
    section = STAGES[stage]
    chosen = set()
    if section is not None:
        chosen = modules_in(select(parameters, f"{section}.{entry}" if entry else section))
    found = fingerprint({f"repflow.stages.{stage}", *chosen}, source)
    if stage in ("select", "report"):
        found |= _descriptions(parameters, source)
    return found


def _descriptions(parameters: Mapping[str, Any], source: Source) -> dict[str, str]:
    """The docstrings of the methods of a run: the model card and the report show them, so a new one makes both new."""
    chosen = [select(parameters, "pretrain"), select(parameters, "finetune"), *(parameters.get("adapt") or {}).values()]
    found = {}
    for name in sorted({module for section in chosen for module in modules_in(section)}):
        content = source.read(f"{name.replace('.', '/')}.py")
        if content is not None:
            opening = repr(description_in(content, name))
            found[f"{name} (docstring)"] = code_digest(opening.encode())
    return found


def read(path: Path) -> dict[str, str]:
    """Read a fingerprint that was written by `run`."""
    found: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
    return found


@contextlib.contextmanager
def same_code(name: str) -> Iterator[None]:
    """Run a stage in this block: fails if its code differs from `code/`, or changes while it runs.

    DVC hashes the dependencies of a stage after the stage has ended. Without this check, a module that is edited while
    a stage runs would be recorded as the code that made its outputs.

    Args:
        name: name of the stage, as "pretrain" or "adapt/dann".

    Raises:
        CodeChanged: the code differs; the message lists the modules.
    """
    parameters, source = read_all(), Files(paths.SOURCE)
    started = _fingerprint(name, parameters, source)
    path = paths.CODE / f"{name}.json"
    if path.exists() and (changed := differences(read(path), started)):
        raise CodeChanged(f"{path}: the code of {name} has changed since ({listed(changed)}); run `dvc repro`")
    yield
    if source.unchanged():
        return
    if changed := differences(started, _fingerprint(name, parameters, Files(paths.SOURCE))):
        raise CodeChanged(
            f"{name}: its code changed while it ran ({listed(changed)}), so its outputs are not recorded; run"
            " `dvc repro` again"
        )


def listed(modules: Sequence[str], most: int = 6) -> str:
    """Names of modules in one line, without the package name."""
    names = [module.removeprefix("repflow.") for module in modules[:most]]
    return ", ".join(names) + (f" and {len(modules) - most} more" if len(modules) > most else "")
