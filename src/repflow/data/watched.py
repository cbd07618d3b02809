"""The files and folders that `ingest` reads, by kind of source: DVC watches exactly these.

`${watched:source}` in conf/ gives them to dvc.yaml as `data.reads`, and `ingest` refuses to read anything else. This
module imports nothing but the standard library, because DVC composes conf/ in its own process.
"""

import csv
import itertools
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

from repflow.errors import DataError, ParameterError

UNWATCHED = "code/ingest.json"
"""Stands where there is no file to watch: `ingest` depends on this fingerprint anyway."""

SIZE = "data/stores/source/store.json"
"""What has the size of the source's images: made by `ingest@source`, on which `ingest@target` then depends."""

PATH_KEYS: Mapping[str, tuple[str, ...]] = {
    "folder": ("path",),
    "archive": ("path",),
    "table": ("path", "images"),
    "idx": ("images", "labels", "test_images", "test_labels"),
    "torchvision": ("path",),
    "huggingface": ("path",),
    "parquet": ("path",),
    "webdataset": ("path", "classes"),
    "cifar": ("path",),
    "domains": ("path",),
}
"""The keys of each kind of source that hold paths."""

LABELS = "labels.csv"
"""The name of the table of labels that were added, beside the data."""

PATTERN = re.compile(r"[*?\[{]")
"""The signs that make a path a pattern."""

_STORES = Path("data/stores")
_PARTS = ("foreground", "photos")


def watched(data: Mapping[str, Any], domain: str) -> dict[str, str]:
    """What DVC must watch so that `ingest@DOMAIN` runs again when an image changes.

    Args:
        data: the parameters `data`, as plain values.
        domain: "source" or "target".

    Returns:
        Paths relative to the project, or absolute: `images`, what holds the images; `table`, what lists them; `photos`,
        what blended backgrounds are cut from; `labels`, the added labels, where they are there and lie in none of the
        others; `size`, the store that has the size of the target's images, where none is given. `UNWATCHED` where there
        is none.

    Raises:
        ParameterError: a path is empty or not set, or a folder to watch would contain what the stages write.
        DataError: a table beside the project's own folders cannot be read.
    """
    values = with_home(data)
    root, source, where = values.get("root", "."), values.get(domain), f"data.{domain}"
    if not isinstance(source, Mapping):
        raise ParameterError(f"{where}: must be a mapping with the key `kind`")
    _check_paths(root, "data.root")
    images = source.get("foreground", source) if source.get("kind") == "blended" else source
    photos = source.get("photos", {}) if images is not source else {}
    found = {
        **dict(_of_source(images, root, where if images is source else f"{where}.foreground")),
        **{slot.replace("images", "photos"): place for slot, place in _of_source(photos, root, f"{where}.photos")},
    }
    for place in found.values():
        if _covers(place, _STORES):
            raise ParameterError(
                f"{where}: reads the folder {place!r}, which contains what the stages write; put the images into a"
                " folder of their own"
            )
    labels = labels_file(source, root)
    if (
        labels is not None
        and os.path.isfile(labels)
        and not any(_covers(each, Path(labels)) for each in found.values())
    ):
        found["labels"] = labels
    if domain == "target" and values.get("size", 0) is None:
        found["size"] = SIZE
    return {name: found.get(name, UNWATCHED) for name in ("images", "table", "photos", "labels", "size")}


def labels_file(source: Mapping[str, Any], root: str) -> str | None:
    """Where the added labels of a source are looked for: in its folder, or beside its table, archive or files.

    Args:
        source: the parameters of the source, as plain values, with `~` expanded.
        root: the folder that relative paths start from.

    Returns:
        The path of a file that need not exist. None where the source has no place of its own, and where its table has
        this very name: then that is the place for labels.
    """
    places = dict(_of_source(source, root, "data"))
    if source.get("kind") == "torchvision":
        places["images"] = _joined(root, source.get("path", "torchvision"))
    # The table of a `webdataset` only names the classes.
    beside = (source.get("kind") == "table" and places.get("table")) or places.get("images")
    if beside is None:
        return None
    found = os.path.join(beside if os.path.isdir(beside) else os.path.dirname(beside), LABELS)
    return None if found == os.path.normpath(beside) else found


def with_home(data: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters `data` with `~` expanded at the start of every path."""
    values = {**data, **{domain: _expanded(data[domain]) for domain in ("source", "target") if domain in data}}
    return values | ({"root": _home(data["root"])} if "root" in data else {})


def check_watched(data: Mapping[str, Any], domain: str) -> None:
    """Check that the parameter `data.reads`, where it is set, covers what `ingest@DOMAIN` is about to read.

    Raises:
        ParameterError: it does not; the message says how to set it.
    """
    given = data.get("reads")
    if given is None:
        return
    places = given.get(domain) if isinstance(given, Mapping) else None
    listed = list(places.values()) if isinstance(places, Mapping) else []
    for place in watched(data, domain).values():
        if place != UNWATCHED and not any(_covers(each, Path(place)) for each in listed):
            raise ParameterError(
                f"params.yaml: data.reads.{domain}: does not cover {place}, so that DVC would not see it change; set it"
                " with `repflow compose`, then `dvc repro`"
            )


def is_pattern(path: str) -> bool:
    """Does this path have signs of a pattern, as `data/train-*.parquet` and `{train,val}-{000..009}.tar`?"""
    return PATTERN.search(path) is not None


def pattern_folder(path: str) -> str:
    """The folder that holds every file of a pattern; another path as it is."""
    parts = PurePath(path).parts
    fixed = list(itertools.takewhile(lambda part: not is_pattern(part), parts))
    return str(PurePath(*fixed)) if len(fixed) < len(parts) else path


def _of_source(source: Any, root: str, where: str) -> Iterator[tuple[str, str]]:
    """Slot and path of everything that one source reads."""
    kind = source.get("kind") if isinstance(source, Mapping) else None
    for key in PATH_KEYS.get(str(kind), ()):
        _check_paths(source.get(key), f"{where}.{key}")
    if kind in ("folder", "archive", "huggingface", "cifar"):
        yield "images", _joined(root, source.get("path", ""))
    elif kind in ("parquet", "webdataset"):
        yield "images", _shards(root, source.get("path", ""))
        if source.get("classes"):
            yield "table", _joined(root, source["classes"])
    elif kind == "domains":
        yield "images", _common(_joined(root, place) for place in _domains(source, root, where))
    elif kind == "torchvision" and not source.get("download"):
        # A folder that is downloaded need not exist yet, and torchvision checks what it downloads.
        yield "images", _joined(root, source.get("path", "torchvision"))
    elif kind == "table":
        table = _joined(root, source.get("path", ""))
        given = source.get("images")
        folder = _joined(root, given) if given is not None else os.path.dirname(table) or "."
        yield "table", table
        yield "images", _folder_of_rows(table, folder) if _covers(folder, _STORES) else folder
    elif kind == "idx":
        # Their folder, as each file may be there with ".gz" or without.
        files = [_joined(root, source[key]) for key in PATH_KEYS["idx"] if source.get(key)]
        yield "images", _common(os.path.dirname(file) or "." for file in files)


def _shards(root: str, path: str) -> str:
    """What holds the files of a set: a file or a folder, or the folder that all files of a pattern are in."""
    whole = _joined(root, path)
    return whole if os.path.exists(whole) else _joined(root, pattern_folder(path))


def _domains(source: Mapping[str, Any], root: str, where: str) -> list[str]:
    """The folders of the chosen domains, or the folder of all where they are spelt otherwise there."""
    names, path = source.get("domains"), source.get("path", ".")
    if names == "???" or not isinstance(names, Sequence) or isinstance(names, str) or not names:
        raise ParameterError(f"{where}.domains: must be set with these choices; add '{where}.domains=[NAME,NAME]'")
    folders = [os.path.join(path, str(name)) for name in names]
    # Names that are spelt otherwise on disk: the folder of all domains.
    return folders if all(os.path.isdir(os.path.join(root, folder)) for folder in folders) else [path]


def _check_paths(value: Any, where: str) -> None:
    if isinstance(value, str) and not value.strip():
        raise ParameterError(f"{where}: is empty; give a path (is a shell variable not set?)")
    if value == "???":
        raise ParameterError(f"{where}: must be set with these choices; add {where}=PATH")


def _folder_of_rows(table: str, folder: str) -> str:
    """The folder that holds every image of a table which stands beside the project's own folders."""
    if not os.path.isfile(table):
        return UNWATCHED  # `ingest` says that there is no such table
    places = {os.path.dirname(os.path.normpath(row)) for row in _rows(table)}
    common = os.path.normpath(os.path.join(folder, _common(places) if places else "."))
    if _covers(common, _STORES):
        raise ParameterError(
            f"{table}: lists images in several folders of {folder}, which holds the project's own files, too; put them"
            " into one folder"
        )
    return common


def _rows(table: str) -> Sequence[str]:
    """The column `path` of a table."""
    if table.endswith(".parquet"):
        from pyarrow import parquet

        return [str(path) for path in parquet.read_table(table, columns=["path"])["path"].to_pylist() if path]
    try:
        with open(table, encoding="utf-8-sig", newline="") as file:
            return [row["path"].strip() for row in csv.DictReader(file) if (row.get("path") or "").strip()]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{table}: not a readable CSV table ({error})") from error


def _common(folders: Iterable[str]) -> str:
    names = list(folders)
    if len({os.path.isabs(name) for name in names}) > 1:
        names = [os.path.abspath(name) for name in names]
    return os.path.commonpath(names) or "."


def _covers(place: str, path: Path) -> bool:
    """Whether `path` is `place` or below it."""
    return PurePath(os.path.abspath(path)).is_relative_to(os.path.abspath(place))


def _joined(root: str, path: str) -> str:
    return os.path.normpath(os.path.join(root, path))


def _expanded(source: Any) -> Any:
    if not isinstance(source, Mapping):
        return source
    values = dict(source)
    for key in PATH_KEYS.get(str(source.get("kind")), ()):
        if isinstance(values.get(key), str):
            values[key] = _home(values[key])
    return values | {part: _expanded(values[part]) for part in _PARTS if part in values}


def _home(path: Any) -> Any:
    return os.path.expanduser(path) if isinstance(path, str) else path
