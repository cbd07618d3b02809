"""WebDataset: tar files of samples, the files of one beside each other under one key, as `00017.jpg` and `00017.cls`.

A key is the path up to the first dot of the file's name, and what follows the dot says what the file is. Shards are
read from their first byte to the last, and not unpacked to disk. The format: https://github.com/webdataset/webdataset
"""

import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from repflow.data.ingest.decode import Undecodable
from repflow.data.ingest.sources.archive_reader import ArchiveReader
from repflow.data.ingest.sources.class_labels import Names, class_of, read_names
from repflow.data.ingest.sources.contract import Collected, Request
from repflow.data.ingest.sources.files import File, FileStream, failing
from repflow.data.ingest.sources.names import as_text, unlabelled_in_name
from repflow.data.ingest.sources.recognition import TARS
from repflow.data.ingest.sources.records import Record, record_stream, version_of_places
from repflow.data.ingest.sources.selection import Selection
from repflow.data.ingest.sources.shards import Shard, find_shards
from repflow.data.watched import pattern_folder
from repflow.errors import DataError
from repflow.schema import Count, parameters

CLASS_FILES = ("classes.txt", "classes.json")
"""Files of names of classes that are read if they are beside the shards."""

log = logging.getLogger("repflow")


@parameters
class WebDataset:
    """Images in tar files of samples. The splits are those that the names of the files or of their folders say.

    Attributes:
        path: a tar file, a folder of tar files, or a pattern such as `{train,val}-{000000..000009}.tar`, relative to
            `data.root`.
        image: which files of a sample are the images, as in `jpg` or `left.png`; None for any image, of which a sample
            may have one.
        labels: which files have the classes: `cls`, `json` or `txt`. None for `cls` and, where a sample has none,
            `json`; `txt` often is a caption.
        key: the key of the class in `json` files.
        classes: a file with the names of classes whose labels are numbers: one a line, the first for 0, or JSON. None
            for `classes.txt` or `classes.json` in the folder of the shards, if there is one.
        max_files, max_bytes, max_ratio: limits of each shard, as for `Archive`.
    """

    kind: Literal["webdataset"]
    path: str
    image: str | None = None
    labels: Literal["cls", "json", "txt"] | None = None
    key: str = "label"
    classes: str | None = None
    max_files: Count = 2_000_000
    max_bytes: Count = 2**35
    max_ratio: Count = 100

    def collect(self, request: Request) -> Collected:
        """Every sample of every shard, in the order of the shards. See `Source`."""
        return self.stream(request).collected(request.form)

    def stream(self, request: Request) -> FileStream:
        """The same, to be decoded in shards while the tar files are read from start to end. See `Streaming`."""
        shards = find_shards(request.root, self.path, TARS, "tar file", request.elsewhere, CLASS_FILES)
        reader = _Labels(self.labels, self.key, self._names(request.root))

        def records() -> Iterator[Record]:
            for shard in shards:
                yield from self._records(shard, reader)
            reader.report(as_text(Path(self.path).name))

        return record_stream(records(), version_of_places((shard.place for shard in shards), self))

    def _names(self, root: Path) -> Names | None:
        if self.classes is not None:
            return read_names(root / self.classes)
        folder = root / self.path if (root / self.path).exists() else root / pattern_folder(self.path)
        found = [folder / name for name in CLASS_FILES if folder.is_dir() and (folder / name).is_file()]
        if len(found) > 1:
            raise DataError(f"{folder}: has {' and '.join(CLASS_FILES)}; keep one, or name one with `classes`")
        return read_names(found[0]) if found else None

    def _records(self, shard: Shard, labels: "_Labels") -> Iterator[Record]:
        selection = _Members(self.image, self.labels)
        reader = ArchiveReader(shard.place, self.max_files, self.max_bytes, self.max_ratio, selection)
        others: list[str] = []
        for sample in samples(reader, str(shard.place)):
            image = self._image(sample, shard)
            if image is None and not sample.files.keys() & {"cls", "json"}:
                others.append(sample.key)
                continue
            name = f"{sample.key}.{image}" if image else sample.key
            file = sample.files[image] if image is not None else File(name, failing("the sample has no image"), 0)
            where = f"{shard.place}: sample {as_text(sample.key)!r}"
            given = None if unlabelled_in_name(shard.name) else labels.read(sample.files, where)
            yield Record(f"{shard.name}/{as_text(name)}", file.content, file.size, given, shard.split)
        for name in others:
            selection.turns_away(name)
        selection.report(shard.name, "files that are neither images nor labels")
        if not reader.count:
            raise DataError(
                f"{shard.place}: has no images and no classes; for folders in a tar file write `kind: archive`"
            )

    def _image(self, sample: "Sample", shard: Shard) -> str | None:
        found = [name for name in sample.files if name not in _LABELS]
        if len(found) > 1:
            raise DataError(
                f"{shard.place}: sample {as_text(sample.key)!r} has {len(found)} images ({', '.join(found[:4])});"
                f" choose one, as in `image: {found[0]}`. A sample's key ends at the first dot of its files' names"
            )
        return found[0] if found else None


_LABELS = ("cls", "json", "txt")


@dataclass
class Sample:
    """The files of one key, by what follows its dot in lower case."""

    key: str
    files: dict[str, File] = field(default_factory=dict)


def samples(files: "ArchiveReader", where: str) -> Iterator[Sample]:
    """The samples of one shard.

    Raises:
        DataError: the files of a key do not follow each other, or two have the same ending.
    """
    current: Sample | None = None
    seen: set[str] = set()
    for file in files:
        key, ending = split_name(file.path)
        if current is None or key != current.key:
            if current is not None:
                yield current
            if key in seen:
                raise DataError(
                    f"{where}: the files of the sample {as_text(key)!r} do not follow each other; write the shard anew,"
                    " as by `tar --sort=name`"
                )
            seen.add(key)
            current = Sample(key)
        if ending in current.files:
            raise DataError(f"{where}: the sample {as_text(key)!r} has two files {ending!r}; keep one of them")
        current.files[ending] = file
    if current is not None:
        yield current


def split_name(path: str) -> tuple[str, str]:
    """The key of a file in a shard, and what follows its dot, in lower case."""
    folder, slash, name = path.rpartition("/")
    key, _, ending = name.partition(".")
    return f"{folder}{slash}{key}", ending.lower()


class _Members(Selection):
    """Takes the images of samples and the files of their labels."""

    def __init__(self, image: str | None, labels: str | None) -> None:
        super().__init__()
        self._image = image.lower().lstrip(".") if image else None
        self._labels = {labels} if labels else {"cls", "json"}

    def takes(self, path: str, start: Callable[[], bytes]) -> bool:
        name = PurePosixPath(path).name
        ending = split_name(name)[1]
        if name.startswith("__") and name.endswith("__"):  # of the format itself
            self.turns_away(path)
            return False
        if ending in _LABELS:
            if ending not in self._labels:
                self.turns_away(path)
            return ending in self._labels
        if self._image is not None:
            if ending != self._image:
                self.turns_away(path)
            return ending == self._image
        return super().takes(path, start)


class _Labels:
    """Reads the classes of samples."""

    def __init__(self, kind: str | None, key: str, names: Names | None) -> None:
        self._kinds = (kind,) if kind else ("cls", "json")
        self._key, self._names = key, names
        self._found = self._samples = 0
        self._keys: list[str] = []

    def read(self, files: dict[str, File], where: str) -> str | None:
        """The class of the sample with these files."""
        kind = next((each for each in self._kinds if each in files), None)
        self._samples += 1
        if kind is None:
            return None
        where = f"{where}: .{kind}"
        try:
            content = files[kind].content()
        except Undecodable as problem:
            raise DataError(f"{where}: cannot be read ({problem})") from None
        assert isinstance(content, bytes)
        value = self._of_json(content, where) if kind == "json" else _of_text(content)
        found = class_of(value, self._names, where)
        self._found += found is not None
        return found

    def report(self, where: str) -> None:
        """Log it where no sample has a class."""
        if self._samples and not self._found:
            keys = f" (keys: {', '.join(self._keys[:12])})" if self._keys else ""
            log.warning(
                "%s: no sample has a class: no .cls, and no .json with the key %r%s; name another key with `key`, or"
                " `labels: txt` if the .txt files are classes and no captions",
                where,
                self._key,
                keys,
            )

    def _of_json(self, content: bytes, where: str) -> Any:
        try:
            values = json.loads(content.decode("utf-8-sig"))
        except ValueError as error:
            raise DataError(f"{where}: is no JSON ({error})") from error
        if not isinstance(values, dict):
            return values
        if not self._keys:
            self._keys = list(map(str, values))
        return values.get(self._key)


def _of_text(content: bytes) -> str | list[str]:
    lines = content.decode("utf-8-sig", "surrogateescape").split("\n")
    filled = [line.strip() for line in lines if line.strip()]
    return filled if len(filled) > 1 else "".join(filled)
