"""Whether DVC's cache holds what dvc.lock names, byte for byte.

DVC believes a file in its cache that is read-only: one that a disk or a remote has damaged is checked out as if it were
whole, and `dvc status` calls everything up to date. Here every file is read and hashed again.
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
    """The cache does not hold what dvc.lock names."""


def check_cache(repo: Any) -> int:
    """Hash every file of the cache that dvc.lock names; return how many there are.

    Raises:
        BrokenCache: naming each entry that is missing or damaged, its stage and its file.
    """
    states: dict[str, str] = {}
    missing: list[str] = []
    damaged: list[str] = []
    for stage in repo.index.stages:
        for out in stage.outs:
            if out.use_cache and out.hash_info:
                for file, entry in _files(out):
                    state = states.setdefault(entry.as_posix(), _state(entry))
                    told = f"  {file} (of {address(stage)}): {entry}"
                    (missing if state == "missing" else damaged if state == "damaged" else []).append(told)
    if missing or damaged:
        parts = [
            *(
                ["damaged, remove them, then `dvc pull`, or `dvc repro` to make them anew:", *damaged]
                if damaged
                else []
            ),
            *(["not in the cache, `dvc pull` fetches them, `dvc repro` makes them anew:", *missing] if missing else []),
        ]
        raise BrokenCache("\n".join([f"{repo.cache.local.path}: not all that dvc.lock names is whole", *parts]))
    return len(states)


def _files(out: Any) -> Iterator[tuple[str, Path]]:
    """The files of an output and their entries; for a folder first the entry that lists them."""
    root, oid = out.cache, out.hash_info.value
    entry = Path(root.oid_to_path(oid))
    yield out.def_path, entry
    if out.hash_info.isdir and _state(entry) == "whole":
        for each in json.loads(entry.read_text(encoding="utf-8")):
            yield f"{out.def_path}/{each['relpath']}", Path(root.oid_to_path(each["md5"]))


def _state(entry: Path) -> str:
    """ "whole", "missing" or "damaged"; an entry's name is the hash of its bytes."""
    if not entry.is_file():
        return "missing"
    digest = hashlib.md5(usedforsecurity=False)
    with entry.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return "whole" if digest.hexdigest() == entry.parent.name + entry.stem else "damaged"
