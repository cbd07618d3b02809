"""Folder layouts: reads splits and classes from paths such as `[SPLIT/]CLASS/**`."""

import logging
import unicodedata
from collections.abc import Collection, Sequence

import pandas as pd

from repflow.data.ingest.sources.contract import SPLITS
from repflow.data.ingest.sources.files import EXTENSIONS
from repflow.errors import DataError

UNLABELLED = ("unlabelled", "unlabeled")
"""Names of the folder whose images have no class."""

log = logging.getLogger("repflow")

Parts = tuple[str, ...]


def parse_layout(paths: Sequence[str], folders: Collection[str], where: str, unwrap: bool = False) -> pd.DataFrame:
    """Read classes and splits from the paths of images.

    The top-level folders are splits if all of them are called train, val, validation or test (or unlabelled). The next
    level are the classes; deeper folders belong to their class.

    Args:
        paths: paths of the images, relative to the root, with "/" between the parts.
        folders: all folders, including empty ones.
        where: the root, for messages.
        unwrap: skip a single top-level folder that contains everything, as in many archives.

    Returns:
        The columns `given_class` and `split`, one row per path, None where there is none.

    Raises:
        DataError: the folder of a class has no image.
    """
    split_paths = [tuple(path.split("/")) for path in paths]
    split_folders = {tuple(folder.split("/")) for folder in folders}
    split_folders |= {path[:depth] for path in split_paths for depth in range(1, len(path))}
    skip = 1 if unwrap and _is_wrapped(split_paths, split_folders) else 0
    split_paths = [path[skip:] for path in split_paths]
    split_folders = {folder[skip:] for folder in split_folders if len(folder) > skip}
    has_splits = _has_splits({folder[0] for folder in split_folders}, where)
    _check_empty(split_paths, split_folders, has_splits, where)
    found = [_class_and_split(path, has_splits) for path in split_paths]
    return pd.DataFrame(found, columns=["given_class", "split"], dtype=object)


def _is_wrapped(paths: Sequence[Parts], folders: Collection[Parts]) -> bool:
    tops = {folder[0] for folder in folders}
    if len(tops) != 1 or any(len(path) == 1 for path in paths) or _is_split(*tops) or _is_unlabelled(*tops):
        return False
    return any(len(folder) > 1 for folder in folders)


def _has_splits(tops: Collection[str], where: str) -> bool:
    splits = sorted(top for top in tops if _is_split(top))
    others = sorted(top for top in tops if not _is_split(top) and not _is_unlabelled(top))
    if splits and others:
        log.warning(
            "%s: %r is taken as a class, not as a split, because the folder %r is on the same level",
            where,
            splits[0],
            others[0],
        )
    return bool(splits) and not others


def _check_empty(paths: Sequence[Parts], folders: Collection[Parts], has_splits: bool, where: str) -> None:
    """A folder at the level of the classes without an image below it is a mistake, not a class."""
    level = 2 if has_splits else 1
    filled = {path[:level] for path in paths if len(path) > level}
    # A folder `unlabelled` may be on the level of the splits; its subfolders are not classes.
    empty = sorted(
        folder for folder in folders if len(folder) == level and folder not in filled and not _is_unlabelled(folder[0])
    )
    if empty:
        name = "/".join(empty[0])
        more = f" (and {len(empty) - 1} more such folders)" if len(empty) > 1 else ""
        extensions = " ".join(EXTENSIONS)
        raise DataError(
            f"{where}: the class folder {name!r} has no image{more}; add images or remove it (extensions: {extensions})"
        )


def _class_and_split(path: Parts, has_splits: bool) -> tuple[str | None, str | None]:
    split = None
    if has_splits:
        split = SPLITS.get(path[0].casefold())
        path = path[1:] if split else path
    if len(path) == 1 or _is_unlabelled(path[0]):
        return None, split
    # "é" can be one Unicode character or two, and file systems differ in which form they keep.
    return unicodedata.normalize("NFC", path[0]), split


def _is_split(name: str) -> bool:
    return name.casefold() in SPLITS


def _is_unlabelled(name: str) -> bool:
    return name.casefold() in UNLABELLED
