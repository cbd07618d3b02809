"""Verify the checksums of all files in DVC's cache that dvc.lock refers to.

DVC trusts read-only files in its cache: a file that was damaged on a disk or remote is checked out as if it were
intact, and `dvc status` reports everything as up to date. Here every file is read and hashed again.
"""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from repflow.errors import StorageError
from repflow.review.record import address

_CHUNK = 1 << 20


class BrokenCache(StorageError):
    """Files in DVC's cache are missing or damaged."""


def check_cache(repo: Any) -> int:
    """Hash every file of the cache that dvc.lock refers to; returns the number of files.

    Raises:
        BrokenCache: some are missing or damaged; the message lists each with its stage and path.
    """
    states: dict[str, str] = {}
    missing: list[str] = []
    damaged: list[str] = []
    for stage in repo.index.stages:
        for out in stage.outs:
            if out.use_cache and out.hash_info:
                for file, entry in _files(out):
                    state = states.setdefault(entry.as_posix(), _state(entry))
                    line = f"  {file} (of {address(stage)}): {entry}"
                    (missing if state == "missing" else damaged if state == "damaged" else []).append(line)
    if missing or damaged:
        parts = [
            *(
                ["damaged; delete them, then run `dvc pull`, or `dvc repro` to recreate them:", *damaged]
                if damaged
                else []
            ),
            *(
                ["missing; run `dvc pull` to download them, or `dvc repro` to recreate them:", *missing]
                if missing
                else []
            ),
        ]
        raise BrokenCache("\n".join([f"{repo.cache.local.path}: files of dvc.lock are missing or damaged", *parts]))
    return len(states)


def _files(out: Any) -> Iterator[tuple[str, Path]]:
    """The files of an output with their cache entries; for a folder, first the entry that lists its files."""
    root, oid = out.cache, out.hash_info.value
    entry = Path(root.oid_to_path(oid))
    yield out.def_path, entry
    if out.hash_info.isdir and _state(entry) == "intact":
        for each in json.loads(entry.read_text(encoding="utf-8")):
            yield f"{out.def_path}/{each['relpath']}", Path(root.oid_to_path(each["md5"]))


def _state(entry: Path) -> str:
    """ "intact", "missing" or "damaged"; the name of an entry is the hash of its bytes."""
    if not entry.is_file():
        return "missing"
    digest = hashlib.md5(usedforsecurity=False)
    with entry.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return "intact" if digest.hexdigest() == entry.parent.name + entry.stem else "damaged"
