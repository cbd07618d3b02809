"""Which columns of a Parquet file hold the images, their classes and their groups."""

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pyarrow as pa

from repflow.data.ingest.sources.cells import header_text
from repflow.data.ingest.sources.class_labels import LIKE_LABEL, Names, numbered
from repflow.data.ingest.sources.hub_features import class_names, image_features, is_image
from repflow.data.ingest.sources.recognition import FILE_NAME
from repflow.errors import DataError, ParameterError


@dataclass(frozen=True)
class Columns:
    """The columns of one file, as it spells them.

    Attributes:
        image: of the images.
        label: of the classes, None for none.
        names: of the classes, where labels are numbers with names.
        group: of the groups, None for none.
        unused: all others.
    """

    image: str
    label: str | None
    names: Names | None
    group: str | None
    unused: tuple[str, ...]


def find_columns(schema: pa.Schema, image: str | None, label: str | None, group: str | None, where: str) -> Columns:
    """The columns that the parameters of the source name, or that are meant where they name none.

    Names count without case and surrounding spaces.

    Raises:
        ParameterError: there is no such column.
        DataError: a column has another type, several are meant, or one has almost the name of the missing labels.
    """
    places: dict[str, str] = {}
    for name in schema.names:
        if header_text(name) in places:
            raise DataError(f"{where}: there are several columns {header_text(name)!r}; keep one of them")
        places[header_text(name)] = name
    named = {
        role: _named(places, given, f"{role}={given}", where)
        for role, given in (("image", image), ("label", label), ("group", group))
        if given is not None
    }
    images = named.get("image") or _only_image(schema, places, where)
    _check_type(schema, images, is_image, "bytes of images (binary, or a struct with the field `bytes`)", where)
    classes = named.get("label") or _only_label(schema, places, images, where)
    for column in (classes, named.get("group")):
        if column is not None:
            _check_type(schema, column, _is_plain, "text or numbers", where)
    names = class_names(schema).get(classes) if classes else None
    used = {images, classes, named.get("group")}
    return Columns(
        images,
        classes,
        numbered(names) if names else None,
        named.get("group"),
        tuple(name for name in schema.names if name not in used),
    )


def _named(places: dict[str, str], given: str, setting: str, where: str) -> str:
    if header_text(given) not in places:
        raise ParameterError(f"{where}: {setting}: has no such column (columns: {', '.join(places.values())})")
    return places[header_text(given)]


def _only_image(schema: pa.Schema, places: dict[str, str], where: str) -> str:
    if "image" in places:
        return places["image"]
    possible = [name for name in schema.names if is_image(schema.field(name).type)]
    declared = [name for name in image_features(schema) if name in possible]
    return _only(declared or possible, "images", "image", schema.names, where)


def _only_label(schema: pa.Schema, places: dict[str, str], image: str, where: str) -> str | None:
    if "label" in places:
        return places["label"]
    declared = [name for name in class_names(schema) if name in schema.names]
    if declared:
        return _only(declared, "classes", "label", schema.names, where)
    others = [name for name in places if places[name] != image]
    known = [name for name in others if name.replace(" ", "_") in LIKE_LABEL]
    meant = known or difflib.get_close_matches("label", others, n=1, cutoff=0.8)
    if meant:
        raise DataError(
            f"{where}: there is no column 'label', but {places[meant[0]]!r}; if it has the classes, name it with"
            f" `label: {places[meant[0]]}`"
        )
    return None


def _only(possible: Sequence[str], what: str, key: str, columns: Sequence[str], where: str) -> str:
    if len(possible) == 1:
        return possible[0]
    if possible:
        raise DataError(
            f"{where}: has several columns of {what}: {', '.join(possible)}; choose one, as in `{key}: {possible[0]}`"
        )
    is_metadata = FILE_NAME in map(header_text, columns)
    advice = "choose data=huggingface, as it lists images" if is_metadata else "for paths of files write `kind: table`"
    raise DataError(f"{where}: has no column of {what} (columns: {', '.join(columns)}); {advice}")


def _check_type(schema: pa.Schema, name: str, fits: Callable[[pa.DataType], bool], what: str, where: str) -> None:
    kind = schema.field(name).type
    if not fits(kind):
        shown = str(kind) if len(str(kind)) < 80 else f"{str(kind)[:77]}..."
        raise DataError(f"{where}: the column {name!r} has values of the type {shown}, not {what}")


def _is_plain(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    tests = ("is_integer", "is_floating", "is_boolean", "is_string", "is_large_string", "is_string_view", "is_null")
    return any(getattr(pa.types, test)(kind) for test in tests)
