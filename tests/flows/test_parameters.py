"""The form takes the options in conf/, and nothing that names code, a file elsewhere or contains shell syntax."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect.exceptions import ParameterTypeError
from prefect.utilities.callables import parameter_schema
from pydantic import ValidationError

from parameters import PROJECT, Choices, choices_of
from pipeline import pipeline

HOSTILE: list[Any] = [
    "../../etc/passwd",
    "/etc/passwd",
    "$(touch here)",
    "`touch here`",
    "simclr; touch here",
    "simclr touch",
    "simclr\n",
    "${oc.env:HOME}",
    "${now:%s}",
    "--help",
    "a=b",
    "{a: b}",
    "[a,b]",
    "os.system",
    "x" * 1000,
    "",
    None,
    1,
    True,
    {"_target_": "os.system"},
    ["simclr"],
]


@pytest.mark.parametrize("value", HOSTILE, ids=repr)
@pytest.mark.parametrize("field", ["pretrain", "data", "encoder", "hardware"])
def test_a_choice_is_a_file_in_conf_and_nothing_else(field: str, value: Any) -> None:
    with pytest.raises(ValidationError):
        Choices(**{field: value})


@pytest.mark.parametrize("value", [*HOSTILE, [[]], [], ["dann"] * 99, ["dann", "$(x)"]], ids=repr)
def test_so_is_each_of_several(value: Any) -> None:
    with pytest.raises(ValidationError):
        Choices(adapt=value)


@pytest.mark.parametrize("value", [-1, 2**32, 1.5, "1", True, None, float("nan"), [1], 10**400], ids=repr)
def test_a_seed_has_bounds(value: Any) -> None:
    with pytest.raises(ValidationError):
        Choices(seed=value)


@pytest.mark.parametrize("value", [0, -1, 10**9, 1.5, "1", True, [1]], ids=repr)
def test_numbers_have_bounds(value: Any) -> None:
    with pytest.raises(ValidationError):
        Choices(pretrain_steps=value)


@pytest.mark.parametrize(
    "value",
    [
        *(each for each in HOSTILE if each not in ("", "os.system")),
        "..",
        ".",
        "a/../b",
        "a//b",
        "a/",
        ".git",
        "a/.ssh",
        "~",
    ],
    ids=repr,
)
def test_images_lie_below_data_raw(value: Any) -> None:
    with pytest.raises(ValidationError):
        Choices(source_images=value)


@pytest.mark.parametrize("values", [{"tune.search.space": 1}, {"family": "x"}, {"__class__": "x"}], ids=repr)
def test_there_is_no_other_field(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Choices(**values)


def test_what_differs_from_the_defaults_is_composed() -> None:
    assert Choices().overrides() == []
    given: dict[str, Any] = {
        "pretrain": "rotation",
        "adapt": ["source_only", "dann"],
        "data": "folder",
        "source_images": "shop/2024",
        "seed": 3,
        "labels_per_class": 20,
        "trials": 0,
    }
    assert sorted(Choices(**given).overrides()) == [
        "adapt=[source_only,dann]",
        "data.source.path=data/raw/shop/2024",
        "data=folder",
        "pretrain=rotation",
        "seed=3",
        "split.labels_per_class=20",
        "tune.search.trials=0",
    ]


def test_every_group_with_several_choices_is_a_field_and_a_new_file_a_new_choice(tmp_path: Path) -> None:
    import shutil

    conf = tmp_path / "conf"
    shutil.copytree(PROJECT / "conf", conf)
    groups = {folder.name for folder in conf.iterdir() if len(list(folder.glob("*.yaml"))) > 1}
    assert groups - {"training"} <= set(choices_of(conf).model_fields)
    with pytest.raises(ValidationError):
        choices_of(conf)(pretrain="brand_new")
    (conf / "pretrain/brand_new.yaml").write_text("# Brand new: it learns.\nname: brand_new\n")
    choices = choices_of(conf)
    assert choices(pretrain="brand_new").overrides() == ["pretrain=brand_new"]
    assert "brand_new: Brand new: it learns." in str(choices.model_fields["pretrain"].description)


def leaves(schema: Any, where: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema of a plain value or of an object in a JSON schema, with its place."""
    if isinstance(schema, dict):
        if isinstance(schema.get("type"), str):
            yield where, schema
        for key, value in schema.items():
            yield from leaves(value, f"{where}/{key}")
    elif isinstance(schema, list):
        for number, value in enumerate(schema):
            yield from leaves(value, f"{where}/{number}")


def test_the_form_offers_choices_and_bounds_and_no_free_text() -> None:
    schema = parameter_schema(pipeline).model_dump()
    checks: dict[str, Callable[[dict[str, Any]], bool]] = {
        "string": lambda leaf: "enum" in leaf or "const" in leaf or ("pattern" in leaf and leaf["maxLength"] <= 200),
        "integer": lambda leaf: "enum" in leaf or ("minimum" in leaf and "maximum" in leaf),
        "number": lambda leaf: "minimum" in leaf and "maximum" in leaf,
        "boolean": lambda leaf: True,
        "null": lambda leaf: True,
        "array": lambda leaf: "items" in leaf,
        "object": lambda leaf: leaf.get("additionalProperties") is False or "properties" in leaf,
    }
    found = list(leaves({"properties": schema["properties"], "definitions": schema["definitions"]}))
    assert len(found) > 15
    for where, leaf in found:
        assert checks[leaf["type"]](leaf), f"{where}: {leaf}"
    assert schema["definitions"]["Choices"]["additionalProperties"] is False
    assert schema["definitions"]["Choices"]["properties"]["pretrain"]["enum"] == sorted(
        path.stem for path in (PROJECT / "conf/pretrain").glob("*.yaml")
    )
    assert "adapt" in schema["properties"]["targets"]["items"]["enum"]


@pytest.mark.parametrize(
    "parameters",
    [
        {"choices": {"pretrain": "../x"}},
        {"choices": {"seed": -1}},
        {"name": "../../x"},
        {"name": "a b"},
        {"name": "-rf"},
        {"targets": ["$(reboot)"]},
        {"targets": ["../dvc.yaml:x"]},
        {"targets": ["--all"]},
        {"project": "/etc"},
    ],
    ids=repr,
)
def test_the_flow_takes_nothing_else(parameters: dict[str, Any]) -> None:
    with pytest.raises((ParameterTypeError, TypeError, ValidationError)):
        pipeline.validate_parameters(parameters)


def test_a_name_is_fit_for_a_branch_a_folder_and_a_shell() -> None:
    from parameters import RunName

    pattern = RunName.__metadata__[0].pattern
    assert all(re.search(pattern, good) for good in ("", "a", "a1-b2", "pretrain-rotation-seed-3"))
    assert not any(re.search(pattern, bad) for bad in ("-a", "a-", "a--b", "A", "a_b", "a/b", "a.b", "ä"))
