"""Image folders of the Hugging Face hub: images, and beside them a file that says what each is.

The file is called `metadata.csv`, `metadata.jsonl` or `metadata.parquet`, and has a column `file_name` with the paths
of images relative to the file. It stands in the folder of the set or in the folder of each split. A folder without such
a file is read by the names of its folders, as the kind `folder` does.

The format: https://huggingface.co/docs/datasets/image_dataset (ImageFolder).
"""

import functools
import logging
import posixpath
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from repflow.data.ingest.sources.contract import Collected, Request, in_order
from repflow.data.ingest.sources.files import FileStream, OnDisk, place_stamp
from repflow.data.ingest.sources.finder import Finder
from repflow.data.ingest.sources.folder import Folder, walk
from repflow.data.ingest.sources.formats import is_image_name
from repflow.data.ingest.sources.names import as_text, split_named
from repflow.data.ingest.sources.recognition import FILE_NAME, METADATA, is_metadata
from repflow.data.ingest.sources.records import Record, record_stream
from repflow.data.ingest.sources.selection import Selection
from repflow.data.ingest.sources.table_file import read_table
from repflow.errors import DataError
from repflow.schema import parameters

log = logging.getLogger("repflow")


@parameters
class HuggingFace:
    """Images that metadata files list. Splits are the names of folders, as in `folder`, or a column `split`.

    A column `group` names images that a split must not divide. Images that no metadata file lists are not used.

    Attributes:
        path: the folder, relative to `data.root`.
        label: the column of the classes: text, or numbers. It may be missing if it is "label".
    """

    kind: Literal["huggingface"]
    path: str
    label: str = "label"

    def collect(self, request: Request) -> Collected:
        """Every row of every metadata file, in order. See `Source`."""
        return self.stream(request).collected(request.form)

    def stream(self, request: Request) -> FileStream:
        """The same, to be decoded in shards. See `Streaming`."""
        root = request.root / self.path
        selection = Selection()
        files = walk(root, selection, request.elsewhere)[0]
        tables = {as_text(name): Path(entry.path) for name, entry in files if is_metadata(name)}
        if not tables:
            log.info("%s: has no %s; classes are the names of folders", root, ", ".join(METADATA))
            return Folder("folder", self.path).stream(request)
        _check_one_a_folder(list(tables), root)
        finder = Finder(root.resolve(), functools.cache(request.elsewhere))
        listed: dict[str, str] = {}
        records = [record for name in in_order(tables) for record in self._records(name, tables[name], finder, listed)]
        others = [as_text(name) for name, _ in files if as_text(name) not in listed and not is_metadata(name)]
        for name in others:
            if not is_image_name(name):
                selection.turns_away(name)
        _warn_of_unlisted([name for name in others if is_image_name(name)], root.name)
        selection.report(root.name)
        return record_stream(records)

    def _records(self, name: str, place: Path, finder: Finder, listed: dict[str, str]) -> Iterator[Record]:
        table = read_table(place, FILE_NAME, self.label)
        if table["label"].isna().all():
            log.warning(
                "%s: gives no image a class; if another column has them, name it with `label`, as in"
                " data.source.label=COLUMN",
                name,
            )
        folder = posixpath.dirname(name)
        columns = [table[column].tolist() for column in ("path", "label", "split", "group", "line")]
        rows = [[cell if isinstance(cell, str) else None for cell in row] for row in zip(*columns, strict=True)]
        for file_name, label, split, group, line in rows:
            where = f"{place}: {line}"
            given = posixpath.join(folder, file_name or "")
            path = posixpath.normpath(as_text(given.replace("\\", "/")))
            if path in listed:
                raise DataError(f"{where}: {path} is listed in {listed[path]} already; list every image once")
            listed[path] = f"{name}, {line}"
            place_of_image = finder.find(given, where)
            yield Record(
                path=path,
                content=OnDisk(place_of_image),
                size=2**16,
                given_class=label,
                split=_split(path, split, where),
                group=group,
                stamp=place_stamp(place_of_image),
            )


def _split(path: str, told: str | None, where: str) -> str | None:
    """The split of an image: what its row says, or the outermost folder with the name of one."""
    of_folder = next(filter(None, map(split_named, path.split("/")[:-1])), None)
    if told and of_folder and told != of_folder:
        raise DataError(f"{where}: the split is {told}, but {path} is in a folder of {of_folder}; correct one of them")
    return told or of_folder


def _check_one_a_folder(names: list[str], root: Path) -> None:
    folders: dict[str, str] = {}
    for name in names:
        folder = posixpath.dirname(name)
        if folder in folders:
            raise DataError(f"{root}: has both {folders[folder]} and {name}; keep one of them")
        folders[folder] = name


def _warn_of_unlisted(images: list[str], where: str) -> None:
    if images:
        log.warning(
            "%s: %d images are in no metadata file and not used, such as %s",
            where,
            len(images),
            ", ".join(sorted(images)[:3]),
        )
