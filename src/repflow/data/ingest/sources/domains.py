"""One folder a domain: `ROOT/DOMAIN/[SPLIT/]CLASS/**.{png,jpg,webp,...}`, as Office and PACS are distributed.

Saenko et al. Adapting Visual Category Models to New Domains. ECCV 2010 (Office-31); Li et al. Deeper, Broader and
Artier Domain Generalization. ICCV 2017 (PACS).
"""

import dataclasses
import logging
import os
from pathlib import Path
from typing import Annotated, Literal

import pandas as pd
from pydantic import Field

from repflow.data.ingest.sources.contract import Collected, Request
from repflow.data.ingest.sources.files import File, FileStream, check_inside, version_of
from repflow.data.ingest.sources.folder import find_files
from repflow.data.ingest.sources.layout import parse_layout
from repflow.data.ingest.sources.names import as_text, is_passed_over
from repflow.errors import DataError, ParameterError
from repflow.schema import parameters

log = logging.getLogger("repflow")


@parameters
class Domains:
    """The images of some of the folders in a folder, each with the layout of `folder`.

    The domain of an image is the first part of its path in the manifest.

    Attributes:
        domains: names of the folders. The source and the target of a project choose different ones.
        path: the folder that holds the folders of the domains, relative to `data.root`.
    """

    kind: Literal["domains"]
    domains: Annotated[tuple[str, ...], Field(min_length=1)]
    path: str = "."

    def collect(self, request: Request) -> Collected:
        """Every image of the chosen domains, sorted by domain and path. See `Source`."""
        return self.stream(request).collected(request.form)

    def stream(self, request: Request) -> FileStream:
        """The same, to be decoded in shards. See `Streaming`."""
        root = request.root / self.path
        there = _folders(root)
        chosen = [_chosen(name, there, root) for name in self.domains]
        twice = next((name for name in chosen if chosen.count(name) > 1), None)
        if twice:
            raise ParameterError(f"domains: {as_text(twice)!r} is named twice; name every domain once")
        others = sorted(as_text(name) for name in there if name not in chosen)
        if others:
            log.info("%s: other domains, not used: %s", root.name, ", ".join(others))
        files: list[File] = []
        layouts: dict[str, tuple[str | None, str | None]] = {}
        for name in chosen:
            check_inside(root / name, root.resolve(), request.elsewhere, f"the folder {as_text(str(root / name))}")
            found, folders = find_files(root / name, request.elsewhere)
            paths = [as_text(file.path) for file in found]
            layout = parse_layout(paths, folders, str(root / name))
            for path, given_class, split in zip(paths, layout["given_class"], layout["split"], strict=True):
                layouts[f"{as_text(name)}/{path}"] = given_class, split
            files += [dataclasses.replace(file, path=f"{name}/{file.path}") for file in found]

        def listed(rows: pd.DataFrame) -> pd.DataFrame:
            told = [layouts[path] for path in rows["path"]]
            columns = pd.DataFrame(told, columns=["given_class", "split"], dtype=object)
            return rows.assign(given_class=columns["given_class"], split=columns["split"])

        return FileStream(files, listed, version_of(files), movable=True)


def _folders(root: Path) -> list[str]:
    """The names of the folders in a folder."""
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; check `data.root` and the `path` of the source")
    try:
        with os.scandir(root) as entries:
            return [entry.name for entry in entries if entry.is_dir() and not is_passed_over(entry.name)]
    except OSError as error:
        raise DataError(f"{root}: cannot be read ({os.strerror(error.errno or 0)}); fix its permissions") from error


def _chosen(name: str, there: list[str], root: Path) -> str:
    """The folder that a name means: the one with this text, or else the only one that differs in case."""
    text = as_text(name.strip())
    same = [folder for folder in there if as_text(folder) == text]
    alike = same or [folder for folder in there if as_text(folder).casefold() == text.casefold()]
    if len(alike) != 1:
        allowed = ", ".join(sorted(map(as_text, there))) or "none"
        raise DataError(f"{root}: has no folder of the domain {text!r} (there are: {allowed})")
    return alike[0]
