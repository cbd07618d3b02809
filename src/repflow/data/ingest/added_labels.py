"""Labels that a person added afterwards: the table `labels.csv` beside the data, with the columns path and label.

`repflow suggest` says which images are worth a label. Where the file lies says `repflow.data.watched.labels_file`.
"""

import difflib
import logging
import posixpath
from pathlib import Path

import pandas as pd

from repflow.data.ingest.sources.contract import in_order
from repflow.data.ingest.sources.names import as_text
from repflow.data.ingest.sources.table_file import read_table
from repflow.errors import DataError

log = logging.getLogger("repflow")


def add_labels(listing: pd.DataFrame, place: Path | None) -> pd.DataFrame:
    """The listing with the labels of a table added. Rows of the table with an empty label are passed over.

    Args:
        listing: one row per file, with the columns `path` and `given_class`.
        place: CSV or Parquet with the columns `path`, as the manifest has it, and `label`; None, or where there is no
            such file, leaves the listing as it is.

    Raises:
        DataError: the table cannot be read, a path is none of the listing's, or an image has another class already. The
            message names the line.
    """
    if place is None or not place.is_file():
        return listing
    try:
        table = read_table(place)
    except DataError as error:
        raise DataError(
            f"{error} ({place.name} beside the data holds added labels, by the columns path and label)"
        ) from None
    given = table[table["label"].notna()]
    if given.empty:
        log.warning("%s: no row has a label; fill in the column 'label'", place.name)
        return listing
    # Paths are compared as the table source compares them: one text for one file, with "/" between the parts.
    position = {posixpath.normpath(path): row for row, path in enumerate(listing["path"])}
    classes = listing["given_class"].astype(object).tolist()
    before = {name for name in classes if isinstance(name, str)}
    added = 0
    for path, label, line in zip(given["path"], given["label"], given["line"], strict=True):
        where = f"{place}: {line}"
        row = _row(position, as_text(path), where)
        if isinstance(classes[row], str) and classes[row] != label:
            raise DataError(
                f"{where}: {as_text(path)} is labelled {label!r}, but the data have it as {classes[row]!r}; correct the"
                " one or the other, or remove the line"
            )
        added += not isinstance(classes[row], str)
        classes[row] = label
    log.info("%s: %s labels added, %s given already", place.name, f"{added:,}", f"{len(given) - added:,}")
    _name_new_classes(before, set(given["label"]), place)
    return listing.assign(given_class=pd.Series(classes, index=listing.index, dtype=object))


def _row(position: dict[str, int], path: str, where: str) -> int:
    """The row of the listing with this path."""
    for spelling in (path, path.replace("\\", "/")):
        row = position.get(posixpath.normpath(spelling))
        if row is not None:
            return row
    last = posixpath.basename(path.replace("\\", "/"))
    same_name = [known for known in position if posixpath.basename(known) == last]
    near = same_name or difflib.get_close_matches(path, list(position), n=1, cutoff=0.3)
    meant = f"; did you mean {near[0]}?" if near else ""
    raise DataError(
        f"{where}: there is no image {path} in the data{meant}; write paths as `repflow suggest` does, or remove the"
        " line"
    )


def _name_new_classes(before: set[str], given: set[str], place: Path) -> None:
    """Log the classes that only the added labels have, and what they may be misspelt from."""
    by_case = {name.casefold(): name for name in before}
    for name in in_order(given - before) if before else []:
        near = difflib.get_close_matches(name.casefold(), list(by_case), n=1, cutoff=0.8)
        meant = f"; is {by_case[near[0]]!r} meant?" if near else ""
        log.warning("%s: the class %r is new%s", place.name, name, meant)
