"""What the library `datasets` writes into the schema of a Parquet file: which columns are images, and names of classes.

The schema's metadata have the key `huggingface` with JSON, as in
`{"info": {"features": {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": ["cat", "dog"]}}}}`.
A class is stored as its position in `names`, and -1 where an image has none.
"""

import json
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from repflow.data.ingest.sources.names import as_text

_KEY = b"huggingface"


def features(schema: pa.Schema) -> dict[str, Mapping[str, Any]]:
    """The features of the columns that have any in the schema's metadata; none where the metadata are not as above."""
    try:
        found = json.loads((schema.metadata or {})[_KEY])["info"]["features"]
    except (KeyError, TypeError, ValueError):
        return {}
    return {name: each for name, each in found.items() if isinstance(each, Mapping)} if isinstance(found, dict) else {}


def image_features(schema: pa.Schema) -> list[str]:
    """The columns that are images."""
    return [name for name, each in features(schema).items() if each.get("_type") == "Image"]


def class_names(schema: pa.Schema) -> dict[str, list[str]]:
    """The names of the classes in order, for each column of classes."""
    return {
        name: [as_text(str(one).strip()) for one in each["names"]]
        for name, each in features(schema).items()
        if each.get("_type") == "ClassLabel" and isinstance(each.get("names"), list)
    }


def is_image(kind: pa.DataType) -> bool:
    """Can a column of this type hold the bytes of images?"""
    if pa.types.is_struct(kind):
        return kind.get_field_index("bytes") >= 0 and _is_binary(kind.field("bytes").type)
    return _is_binary(kind)


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind))
