"""Parquet sets with the bytes of images, written as the library `datasets` writes them, and what is refused."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from repflow.data.ingest.sources.contract import Collected
from repflow.data.ingest.sources.parquet import Parquet
from repflow.errors import DataError, ParameterError

Collect = Callable[..., Collected]
Encoded = Callable[..., bytes]
IMAGE = pa.struct({"bytes": pa.binary(), "path": pa.string()})
NAMES = ["cat", "dog"]


def schema(columns: dict[str, pa.DataType], **features: dict[str, Any]) -> pa.Schema:
    said = {"huggingface": json.dumps({"info": {"features": features}})} if features else None
    return pa.schema(columns, metadata=said)


HUB = schema(
    {"image": IMAGE, "label": pa.int64()}, image={"_type": "Image"}, label={"names": NAMES, "_type": "ClassLabel"}
)


def write(place: Path, rows: Sequence[dict[str, Any]], given: pa.Schema = HUB, **options: Any) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pa.Table.from_pylist(list(rows), schema=given), place, **options)


def cells(collected: Collected, name: str) -> list[object]:
    return collected.listing[name].astype(object).where(collected.listing[name].notna(), None).tolist()


@pytest.fixture
def image(encoded: Encoded) -> Callable[[int], dict[str, Any]]:
    return lambda number: {"bytes": encoded((number, 0, 0)), "path": f"/home/someone/{number}.png"}


@pytest.fixture
def hub(tmp_path: Path, image: Callable[[int], dict[str, Any]]) -> Path:
    """A set of the hub: two shards for training, one for testing, and the files around them."""
    for number in range(2):
        rows = [{"image": image(100 * number + row), "label": row % 2} for row in range(70)]
        write(tmp_path / f"set/data/train-0000{number}-of-00002.parquet", rows, row_group_size=30)
    write(tmp_path / "set/data/test-00000-of-00001.parquet", [{"image": image(200), "label": -1}])
    (tmp_path / "set/README.md").write_text("about")
    (tmp_path / "set/.gitattributes").write_text("")
    return tmp_path / "set"


@pytest.mark.parametrize("path", ["set", "set/data", "set/data/t*.parquet", "set/data/{train,test}-*.parquet"])
def test_shards_of_the_hub_are_read_in_order_with_splits_and_names(collect: Collect, hub: Path, path: str) -> None:
    collected = collect(Parquet("parquet", path))
    assert cells(collected, "split") == ["test"] + ["train"] * 140
    assert cells(collected, "given_class") == [None, *(NAMES * 70)]
    assert collected.images[:, 0, 0, 0].tolist() == [200, *range(70), *range(100, 170)]
    assert cells(collected, "index") == list(range(141))
    start = "data/" if path == "set" else ""
    assert cells(collected, "path")[0] == f"{start}test-00000-of-00001.parquet/0000/200.png"
    assert cells(collected, "path")[-1] == f"{start}train-00001-of-00002.parquet/0069/169.png"


def test_binary_images_text_labels_and_groups_in_one_file(collect: Collect, tmp_path: Path, encoded: Encoded) -> None:
    kinds = {"Image": pa.large_binary(), "Label ": pa.dictionary(pa.int8(), pa.string()), "writer": pa.int32()}
    rows = [
        {"Image": encoded((9, 0, 0), ".jpg"), "Label ": " a ", "writer": 4},
        {"Image": b"damaged", "Label ": None, "writer": None},
        {"Image": None, "Label ": "b", "writer": 4},
    ]
    write(tmp_path / "a.parquet", rows, pa.schema(kinds))
    collected = collect(Parquet("parquet", "a.parquet", group="WRITER"))
    assert cells(collected, "given_class") == ["a", None, "b"]
    assert cells(collected, "group") == ["4", None, "4"]
    assert cells(collected, "split") == [None] * 3
    assert cells(collected, "reason") == [None, "not an image in a supported format", "there is no image in this row"]


def test_an_image_that_is_only_a_path_is_listed_as_unreadable(collect: Collect, tmp_path: Path, hub: Path) -> None:
    rows = [{"image": {"bytes": None, "path": "a\\b.png"}, "label": 0}]
    write(tmp_path / "a.parquet", rows)
    assert cells(collect(Parquet("parquet", "a.parquet")), "reason") == [
        "the file has only its path, 'b.png', not its bytes"
    ]


def test_the_only_columns_of_images_and_of_classes_are_found_and_others_named(
    collect: Collect, tmp_path: Path, image: Callable[[int], dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    given = schema(
        {"img": IMAGE, "sound": IMAGE, "fine": pa.int64(), "id": pa.int64()},
        img={"_type": "Image"},
        sound={"_type": "Audio"},
        fine={"names": NAMES, "_type": "ClassLabel"},
    )
    write(tmp_path / "a.parquet", [{"img": image(3), "fine": 1, "id": 5}], given)
    assert cells(collect(Parquet("parquet", "a.parquet")), "given_class") == ["dog"]
    assert "a.parquet: the columns 'sound', 'id' are not used" in caplog.text


def test_shards_without_labels_have_no_class(collect: Collect, hub: Path, image: Callable[[int], Any]) -> None:
    write(hub / "data/unlabelled-00000-of-00001.parquet", [{"image": image(1), "label": 0}])
    collected = collect(Parquet("parquet", "set"))
    assert cells(collected, "given_class")[-1] is None
    assert cells(collected, "split")[-1] is None


def test_labels_without_names_are_their_own_names(
    collect: Collect, tmp_path: Path, image: Callable[[int], Any]
) -> None:
    given = pa.schema({"image": IMAGE, "label": pa.float64()})
    write(tmp_path / "a.parquet", [{"image": image(1), "label": label} for label in (3.0, None, 10.0)], given)
    assert cells(collect(Parquet("parquet", "a.parquet")), "given_class") == ["3", None, "10"]


@pytest.mark.parametrize(
    ("columns", "features", "message"),
    [
        ({"image": pa.string()}, {}, "'image' has values of the type string, not bytes of images"),
        ({"image": pa.list_(pa.uint8())}, {}, "'image' has values of the type list"),
        ({"label": pa.int64()}, {}, "has no column of images .*kind: table"),
        ({"file_name": pa.string()}, {}, "has no column of images .*choose data=huggingface"),
        (
            {"left": IMAGE, "right": IMAGE},
            {},
            "several columns of images: left, right; .*as in `image: left`",
        ),
        ({"image": IMAGE, "label": pa.list_(pa.int64())}, {}, "'label' has values of the type list"),
        ({"image": IMAGE, "class": pa.int64()}, {}, "no column 'label', but 'class'; .*`label: class`"),
        ({"image": IMAGE, "label": pa.int64(), "Label": pa.int64()}, {}, "several columns 'label'"),
        (
            {"image": IMAGE, "fine": pa.int64(), "coarse": pa.int64()},
            {name: {"names": NAMES, "_type": "ClassLabel"} for name in ("fine", "coarse")},
            "several columns of classes: fine, coarse; choose one, as in `label: fine`",
        ),
    ],
)
def test_columns_that_do_not_fit_are_refused(
    collect: Collect, tmp_path: Path, columns: dict[str, pa.DataType], features: dict[str, Any], message: str
) -> None:
    write(tmp_path / "a.parquet", [], schema(columns, **features))
    with pytest.raises(DataError, match=message):
        collect(Parquet("parquet", "a.parquet"))


def test_a_column_that_is_not_there_is_refused(collect: Collect, hub: Path) -> None:
    with pytest.raises(ParameterError, match=r"label=species: has no such column \(columns: image, label\)"):
        collect(Parquet("parquet", "set", label="species"))


def test_a_label_without_a_name_is_refused_with_its_row(
    collect: Collect, tmp_path: Path, image: Callable[[int], Any]
) -> None:
    write(tmp_path / "a.parquet", [{"image": image(1), "label": label} for label in (1, 2)])
    with pytest.raises(DataError, match=r"a\.parquet: row 2: the label 2 has no name, as there are 2 names"):
        collect(Parquet("parquet", "a.parquet"))


def test_files_of_two_sets_are_refused(collect: Collect, hub: Path, image: Callable[[int], Any]) -> None:
    other = schema({"image": IMAGE, "label": pa.int64()}, label={"names": [*NAMES, "emu"], "_type": "ClassLabel"})
    write(hub / "other/train.parquet", [{"image": image(1), "label": 2}], other)
    with pytest.raises(DataError, match="has other names of classes than"):
        collect(Parquet("parquet", "set"))
    write(hub / "other/train.parquet", [{"image": image(1)}], pa.schema({"image": IMAGE}))
    with pytest.raises(DataError, match=r"other/train\.parquet: has (no column 'label'|other names)"):
        collect(Parquet("parquet", "set"))


def test_a_damaged_file_is_refused(collect: Collect, hub: Path) -> None:
    place = hub / "data/train-00001-of-00002.parquet"
    whole = place.read_bytes()
    place.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"train-00001-of-00002\.parquet: not a readable Parquet file"):
        collect(Parquet("parquet", "set"))
    place.write_bytes(whole[:200] + bytes(len(whole) // 3) + whole[200 + len(whole) // 3 :])
    with pytest.raises(DataError, match=r"train-00001-of-00002\.parquet: not a readable Parquet file"):
        collect(Parquet("parquet", "set"))
