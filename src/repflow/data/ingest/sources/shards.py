"""The files that a set is divided into: one file, a folder of them, or a pattern such as `train-{000..146}.tar`.

Patterns have the braces of WebDataset and of shells, `{train,test}` and `{000000..000146}`, and the signs `*`, `?` and
`[...]` of shells.
"""

import glob
import itertools
import logging
import os
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from repflow.data.ingest.sources.contract import Elsewhere, in_order
from repflow.data.ingest.sources.folder import walk
from repflow.data.ingest.sources.names import (
    SPLITS,
    as_text,
    split_in_name,
    unlabelled_in_name,
)
from repflow.data.ingest.sources.selection import Selection
from repflow.data.watched import is_pattern
from repflow.errors import DataError

_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"([0-9]+)\.\.([0-9]+)")
_NUMBERED = re.compile(r"(.*?)([0-9]+)(-of-)([0-9]+)(.*)", re.DOTALL)
_POINTER = b"version https://git-lfs"
_MOST = 1_000_000
"""A pattern may stand for so many files."""

log = logging.getLogger("repflow")


@dataclass(frozen=True)
class Shard:
    """One file of a set.

    Attributes:
        place: the file on disk.
        name: its path relative to the folder of the set, as text.
        split: the split that its name says, or the folders that it is in; None where they say none.
    """

    place: Path
    name: str
    split: str | None


def find_shards(
    root: Path, path: str, endings: Sequence[str], kind: str, elsewhere: Elsewhere, beside: Collection[str] = ()
) -> list[Shard]:
    """The files of a set in natural order of their names.

    Args:
        root: the folder that `path` starts from.
        path: a file, a folder or a pattern.
        endings: endings of the names in lower case; other files of a folder are named in the log.
        kind: what such a file is called in messages.
        elsewhere: where links may lead to that lead out of the folder.
        beside: names of other files of a folder that are used, too.

    Raises:
        DataError: there is no such file, one of a numbered series is missing, a file is a Git LFS pointer, a link leads
            out of the folder, or the name of a file says two splits, or none where others say one.
    """
    place = root / path
    if place.is_dir():
        found = _of_folder(place, endings, kind, elsewhere, beside)
    elif place.is_file() or not is_pattern(path):
        found = {place.name: place}
    else:
        found = _of_pattern(root, path)
    for name, file in found.items():
        _check_file(file, as_text(name), kind)
    _check_series([as_text(name) for name in found], str(place))
    _warn_of_gaps([as_text(name) for name in found], place.name)
    shards = {as_text(name): Shard(file, as_text(name), _split(as_text(name), place)) for name, file in found.items()}
    _check_splits(list(shards.values()), place)
    return [shards[name] for name in in_order(shards)]


def expanded(path: str) -> Iterator[str]:
    """A pattern without its braces: one text for each choice, so that `{a,b}{1..2}` gives a1, a2, b1 and b2."""
    parts = _BRACES.split(path)  # texts and the insides of braces alternate
    choices = [_choices(part) if number % 2 else [part] for number, part in enumerate(parts)]
    return map("".join, itertools.product(*choices))


def _choices(inside: str) -> list[str]:
    span = _RANGE.fullmatch(inside)
    if not span:
        return inside.split(",")
    padded = any(len(end) > 1 and end.startswith("0") for end in span.groups())
    width = max(map(len, span.groups())) if padded else 1
    first, last = map(int, span.groups())
    if not 0 <= last - first < _MOST:
        raise DataError(f"{{{inside}}}: is a range of none or of more than {_MOST:,} files; give first and last number")
    return [f"{number:0{width}}" for number in range(first, last + 1)]


def _of_folder(
    place: Path, endings: Sequence[str], kind: str, elsewhere: Elsewhere, beside: Collection[str]
) -> dict[str, Path]:
    selection = Selection()
    found = {}
    for name, entry in walk(place, selection, elsewhere)[0]:
        if name.lower().endswith(tuple(endings)):
            found[name] = Path(entry.path)
        elif name not in beside:
            selection.turns_away(name)
    selection.report(place.name, f"files that are no {kind}")
    if not found:
        raise DataError(f"{place}: contains no {kind} ({' '.join(endings)}); check `data.root` and `path`")
    return found


def _of_pattern(root: Path, path: str) -> dict[str, Path]:
    found: list[str] = []
    for one in itertools.islice(expanded(path), _MOST):
        # Not joined before: `root` itself may have signs of a pattern.
        files = sorted(glob.glob(one, root_dir=root)) if glob.has_magic(one) else [one]
        if not files:
            raise DataError(f"{root / one}: no file has such a name; check `data.root` and `path`")
        found += [str(root / file) for file in files]
    folder = os.path.commonpath([os.path.dirname(file) for file in found])
    return {os.path.relpath(file, folder).replace(os.sep, "/"): Path(file) for file in dict.fromkeys(found)}


def _check_file(file: Path, name: str, kind: str) -> None:
    if not file.exists():
        raise DataError(f"{file}: no such {kind}; check `data.root` and `path`, or complete the download")
    if not file.is_file():
        raise DataError(f"{file}: is not a file; give a {kind}, a folder of them, or a pattern")
    try:
        with file.open("rb") as opened:
            start = opened.read(len(_POINTER))
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({os.strerror(error.errno or 0)}); fix its permissions") from error
    if start == _POINTER:
        raise DataError(f"{file}: is a pointer of Git LFS instead of the {kind}; run `git lfs pull` in its folder")
    if not start:
        raise DataError(f"{file}: is empty; complete the download")


def _check_series(names: Sequence[str], where: str) -> None:
    """Of files that are numbered `00000-of-00003`, all must be there."""
    series: dict[tuple[str, str, str], set[int]] = {}
    for name in names:
        match = _NUMBERED.fullmatch(name)
        if match:
            before, number, _, total, after = match.groups()
            # `after` may have a hash of the shard's content.
            series.setdefault((before, total, after if "-" not in after else ""), set()).add(int(number))
    for (before, total, after), numbers in series.items():
        missing = sorted(set(range(int(total))) - numbers)
        if missing:
            name = f"{before}{missing[0]:0{len(total)}}-of-{total}{after}"
            raise DataError(
                f"{where}: {name} is missing ({len(missing)} of {int(total)} such files); complete the download"
            )


def _warn_of_gaps(names: Sequence[str], where: str) -> None:
    """Of files that are only numbered, those between the first and the last are hardly meant to be left out."""
    series: dict[tuple[str, ...], list[int]] = {}
    for name in names:
        texts = re.split(r"([0-9]+)", name)
        if len(texts) > 1 and not _NUMBERED.fullmatch(name):
            series.setdefault((*texts[:-2], texts[-1]), []).append(int(texts[-2]))
    for (before, *between, after), numbers in series.items():
        missing = sorted(set(range(min(numbers), max(numbers))) - set(numbers))
        if missing:
            log.warning(
                "%s: between %d and %d of %s, %d numbers have no file, the first of them %d; is the download complete?",
                where,
                min(numbers),
                max(numbers),
                "".join([before, *between, "*", after]),
                len(missing),
                missing[0],
            )


def _split(name: str, place: Path) -> str | None:
    """The split of a shard: that of its file's name, or else that of the nearest folder that says one."""
    for part in reversed(name.split("/")):
        try:
            split = split_in_name(part)
        except ValueError as problem:
            raise DataError(f"{place}: {name}: {problem}; rename it so that it says one split") from None
        if split:
            return split
    return None


def _check_splits(shards: Sequence[Shard], place: Path) -> None:
    """Where some names say a split, all must, but for those of images without a class."""
    silent = [shard.name for shard in shards if not shard.split and not unlabelled_in_name(shard.name)]
    if silent and len(silent) < sum(not unlabelled_in_name(shard.name) for shard in shards):
        raise DataError(
            f"{place}: the name {silent[0]!r} says no split, while others do; rename it (allowed: {', '.join(SPLITS)},"
            " unlabelled), or leave it out by a pattern such as '{train,test}*'"
        )
