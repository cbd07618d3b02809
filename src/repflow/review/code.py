"""The code of a revision: the fingerprints in `code/`, and those of its source files."""

import json
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

import yaml

from repflow.errors import ParameterError
from repflow.fingerprints import Source, differences
from repflow.stages import paths
from repflow.stages.code import fingerprints

Fingerprints = Mapping[str, Mapping[str, str]]
"""Path of a file in code/ to module to digest."""


def recorded(repo: Any) -> dict[str, dict[str, str]]:
    """The fingerprints in `code/`, by path; empty if the revision has no such folder."""
    folder = repo.fs.join(repo.root_dir, str(paths.CODE))
    if not repo.fs.isdir(folder):
        return {}
    found = {}
    for path in sorted(repo.fs.find(folder)):
        if path.endswith(".json"):
            with repo.fs.open(path, encoding="utf-8") as file:
                found[PurePosixPath(repo.fs.relpath(path, repo.root_dir)).as_posix()] = json.load(file)
    return found


def outdated(repo: Any) -> dict[str, list[str]] | None:
    """Path of each file in `code/` to the modules whose fingerprint differs from the source files.

    None if the revision has no fingerprints, or its source files or parameters cannot be read.

    Args:
        repo: dvc.repo.Repo, switched to the revision in question.
    """
    before = recorded(repo)
    parameters = repo.fs.join(repo.root_dir, str(paths.PARAMETERS))
    if not before or not repo.fs.exists(parameters):
        return None
    try:
        with repo.fs.open(parameters, encoding="utf-8") as file:
            now = fingerprints(yaml.safe_load(file), _Revision(repo))
    except (ParameterError, SyntaxError, yaml.YAMLError):
        return None
    return {
        path: changed
        for name, digests in now.items()
        if (changed := differences(before.get(path := f"{paths.CODE}/{name}.json", {}), digests))
    }


class _Revision(Source):
    """The source files of a revision."""

    def __init__(self, repo: Any):
        super().__init__()
        self._fs = repo.fs
        self._top = repo.fs.join(repo.root_dir, "src")

    def load(self, path: str) -> bytes | None:
        place = self._fs.join(self._top, *path.split("/"))
        if not self._fs.isfile(place):
            return None
        with self._fs.open(place, "rb") as file:
            content: bytes = file.read()
        return content

    def names(self, folder: str) -> list[tuple[str, bool]]:
        place = self._fs.join(self._top, *folder.split("/"))
        return [(self._fs.name(path), self._fs.isdir(path)) for path in self._fs.ls(place, detail=False)]
