"""Names of files and folders: their text, what they say of a split, and which ones no person gave.

A name is bytes on Linux, UTF-16 on Windows, and in an archive whatever its maker wrote. Everything that leaves a source
(paths, classes, groups) passes through `as_text`, so that one name is one text.
"""

import re
import unicodedata

SPLITS = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}
"""Accepted names of splits, in any case, and the name of each in the manifest."""

UNLABELLED = ("unlabelled", "unlabeled")
"""Names of the folder whose images have no class."""

_LIKE_SPLITS = {*SPLITS, "eval", "evaluation", "holdout"}
_FILLERS = {"data", "dataset", "files", "folder", "images", "imgs", "part", "set", "split"}

_OF_A_SYSTEM = {
    "$recycle.bin",
    "#recycle",
    "#snapshot",
    "@eadir",
    "@__thumb",
    "@recently-snapshot",
    "@recycle",
    "@tmp",
    "__macosx",
    "desktop.ini",
    "ehthumbs.db",
    "lost+found",
    "lost.dir",
    "network trash folder",
    "recycler",
    "system volume information",
    "temporary items",
    "thumbs.db",
}


def as_text(name: str) -> str:
    """A name or path as text: NFC, and bytes that are not UTF-8 as escapes such as `\\xff`.

    "é" can be one Unicode character or two, and file systems and archives differ in which form they keep.
    """
    readable = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return unicodedata.normalize("NFC", readable)


def split_named(name: str) -> str | None:
    """The split that a folder's name or a table's cell means: "train", "validation", "test"; None for no split."""
    return SPLITS.get(name.strip().casefold())


def is_like_split(name: str) -> bool:
    """Would a reader take this name for a split's, as "train_images", "Test set" or "eval"?"""
    words = re.findall(r"[a-z]+", name.casefold())
    return len(said := [word for word in words if word not in _FILLERS]) == 1 and said[0] in _LIKE_SPLITS


def split_in_name(name: str) -> str | None:
    """The split that a word in the name of a shard says, as in `train-00000-of-00003.parquet`; None for no split.

    Raises:
        ValueError: its words name several splits.
    """
    found = {SPLITS[word] for word in _words(name) if word in SPLITS}
    if len(found) > 1:
        raise ValueError(f"its name says {' and '.join(sorted(found))}")
    return next(iter(found), None)


def unlabelled_in_name(name: str) -> bool:
    """Does a word in the name of a shard say that its images have no class?"""
    return any(word in UNLABELLED for word in _words(name))


def is_unlabelled(name: str) -> bool:
    """Is this the name of the folder whose images have no class?"""
    return name.casefold() in UNLABELLED


def is_passed_over(name: str) -> bool:
    """Is this one part of a path hidden, or made by an operating system or a storage box for its own use?"""
    return name.startswith(".") or name.casefold() in _OF_A_SYSTEM


def _words(name: str) -> list[str]:
    """The words of a name in lower case, without digits and signs."""
    return re.findall(r"[^\W\d_]+", name.casefold())
