"""Folder layouts: reads splits and classes from paths such as `[SPLIT/]CLASS/**`."""

import logging
from collections.abc import Collection, Sequence

import pandas as pd

from repflow.data.ingest.sources.formats import EXTENSIONS
from repflow.data.ingest.sources.names import as_text, is_unlabelled, split_named
from repflow.errors import DataError

log = logging.getLogger("repflow")

Parts = tuple[str, ...]


def parse_layout(paths: Sequence[str], folders: Collection[str], where: str) -> pd.DataFrame:
    """Read classes and splits from the paths of images.

    The top-level folders are splits if all of them have the name of one (`names.SPLITS`) or are called unlabelled. The
    next level are the classes; deeper folders belong to their class. A folder that contains everything is skipped, as
    many archives have one, and splits may stand below the classes instead of above them.

    Args:
        paths: paths of the images, relative to the root, with "/" between the parts.
        folders: all folders, including empty ones.
        where: the root, for messages.

    Returns:
        The columns `given_class` and `split`, one row per path, None where there is none.

    Raises:
        DataError: the folder of a class has no image.
    """
    split_paths = [tuple(as_text(path).split("/")) for path in paths]
    split_folders = {tuple(as_text(folder).split("/")) for folder in folders}
    split_folders |= {path[:depth] for path in split_paths for depth in range(1, len(path))}
    while _is_wrapped(split_paths, split_folders):
        log.info("%s: everything is in the folder %r, which is skipped", where, split_paths[0][0])
        split_paths = [path[1:] for path in split_paths]
        split_folders = {folder[1:] for folder in split_folders if len(folder) > 1}
    if _splits_are_below(split_paths, split_folders):
        split_paths = [(path[1], path[0], *path[2:]) for path in split_paths]
        split_folders = {path[:depth] for path in split_paths for depth in range(1, len(path))}
    has_splits = _has_splits({folder[0] for folder in split_folders})
    _check_empty(split_paths, split_folders, has_splits, where)
    _warn_of_depth(split_paths, 1 + has_splits, where)
    found = [_class_and_split(path, has_splits) for path in split_paths]
    return pd.DataFrame(found, columns=["given_class", "split"], dtype=object)


def _is_wrapped(paths: Sequence[Parts], folders: Collection[Parts]) -> bool:
    """Is everything in one folder, which is neither a split nor a class?"""
    tops = {folder[0] for folder in folders}
    if len(tops) != 1 or any(len(path) == 1 for path in paths) or split_named(*tops) or is_unlabelled(*tops):
        return False
    below = {path[1] for path in paths if len(path) > 2}
    # A single class may have one folder beside its images; two or more with images are the classes themselves.
    return len(below) > 1 or (len(below) == 1 and all(len(path) > 2 for path in paths))


def _splits_are_below(paths: Sequence[Parts], folders: Collection[Parts]) -> bool:
    """Is every class divided into folders of splits, as CLASS/train and CLASS/test?"""
    if _has_splits({folder[0] for folder in folders}) or any(len(path) < 3 for path in paths):
        return False
    return _has_splits({folder[1] for folder in folders if len(folder) == 2})


def _has_splits(tops: Collection[str]) -> bool:
    splits = sum(split_named(top) is not None for top in tops)
    return splits > 0 and splits + sum(map(is_unlabelled, tops)) == len(tops)


def _check_empty(paths: Sequence[Parts], folders: Collection[Parts], has_splits: bool, where: str) -> None:
    """A folder at the level of the classes without an image below it is a mistake, not a class."""
    level = 2 if has_splits else 1
    filled = {path[:level] for path in paths if len(path) > level}
    # A folder `unlabelled` may be on the level of the splits; its subfolders are not classes.
    empty = sorted(
        folder for folder in folders if len(folder) == level and folder not in filled and not is_unlabelled(folder[0])
    )
    if empty:
        name = "/".join(empty[0])
        more = f" (and {len(empty) - 1} more such folders)" if len(empty) > 1 else ""
        extensions = " ".join(EXTENSIONS)
        raise DataError(
            f"{where}: the class folder {name!r} has no image{more}; add images or remove it (extensions: {extensions})"
        )


def _warn_of_depth(paths: Sequence[Parts], level: int, where: str) -> None:
    """Where every image lies deeper than in the folder of its class, the classes may be the deeper folders."""
    classified = [path for path in paths if len(path) > level and not any(map(is_unlabelled, path[:level]))]
    if classified and all(len(path) > level + 1 for path in classified):
        first = classified[0]
        log.warning(
            "%s: no class folder holds an image directly; %r is taken for a class, not the deeper folder %r; if"
            " it is a domain, choose data=domains",
            where,
            first[level - 1],
            "/".join(first[level - 1 : level + 1]),
        )


def _class_and_split(path: Parts, has_splits: bool) -> tuple[str | None, str | None]:
    split = None
    if has_splits:
        split = split_named(path[0])
        path = path[1:] if split else path
    if len(path) == 1 or is_unlabelled(path[0]):
        return None, split
    return path[0].strip(), split
