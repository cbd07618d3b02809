"""Strict parameters: invalid values are refused, with a message that names the key and the allowed values."""

import datetime
from dataclasses import field
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from repflow.errors import ParameterError
from repflow.schema import Count, Fraction, Positive, build, parameters


@parameters
class Inner:
    kind: Literal["inner"]
    rate: Positive = 0.1
    widths: tuple[int, ...] = (1, 2)


@parameters
class Other:
    kind: Literal["other"]
    nested: Annotated[Inner, Field()] | None = None


@parameters
class Outer:
    size: Count
    share: Fraction = 0.5
    choice: Annotated[Inner | Other, Field(discriminator="kind")] | None = None
    many: tuple[Annotated[Inner | Other, Field(discriminator="kind")], ...] = ()
    free: dict[str, int | str] = field(default_factory=dict)


def refused(**values: Any) -> str:
    with pytest.raises(ParameterError) as caught:
        build(Outer, values, "params.yaml: outer")
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_plain_values_become_a_frozen_typed_object() -> None:
    built = build(Outer, {"size": 3, "share": 1, "choice": {"kind": "inner", "widths": [4]}}, "here")
    assert built == Outer(3, 1.0, Inner("inner", 0.1, (4,)))
    with pytest.raises(AttributeError):
        built.size = 4  # type: ignore[misc]


def test_a_misspelt_key_is_refused_with_the_right_spelling() -> None:
    expected = "params.yaml: outer.sise: unknown parameter; did you mean 'size'?"
    assert expected in refused(sise=3)
    assert "(allowed: choice, free, many, share, size)" in refused(sise=3)


def test_a_missing_key_is_named() -> None:
    assert refused() == "params.yaml: outer.size: missing, and it has no default; set it"


@pytest.mark.parametrize("value", [0, -1, "3", 3.5, True, None, [3]])
def test_a_value_of_the_wrong_type_or_out_of_range_is_refused(value: object) -> None:
    assert refused(size=value).startswith("params.yaml: outer.size: ")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), datetime.date(2020, 1, 2)])
def test_nan_infinity_and_dates_are_refused(value: object) -> None:
    assert refused(size=1, choice={"kind": "inner", "rate": value}).startswith("params.yaml: outer.choice.rate: ")


def test_a_number_that_yaml_takes_for_text_is_explained() -> None:
    assert "write the number with a decimal point, as in 1.0e-3" in refused(size=1, share="1e-3")


def test_every_wrong_key_is_named() -> None:
    assert len(refused(share=2, size=0).splitlines()) == 2


def test_an_unknown_kind_is_refused_with_the_kinds_that_are_known() -> None:
    message = "params.yaml: outer.choice.kind: \"iner\" is not allowed; did you mean 'inner'? (allowed: inner, other)"
    assert refused(size=1, choice={"kind": "iner"}) == message


def test_a_missing_kind_is_named_with_the_kinds_that_are_known() -> None:
    assert refused(size=1, choice={"rate": 1}) == "params.yaml: outer.choice.kind: missing (allowed: inner, other)"


def test_a_misspelt_key_inside_a_choice_is_named_without_pydantics_own_tags() -> None:
    message = "params.yaml: outer.choice.rat: unknown parameter; did you mean 'rate'? (allowed: kind, rate, widths)"
    assert refused(size=1, choice={"kind": "inner", "rat": 1}) == message
    nested = {"kind": "other", "nested": {"kind": "inner", "rat": 1}}
    assert "outer.choice.nested.rat: unknown parameter; did you mean 'rate'?" in refused(size=1, choice=nested)


def test_an_element_of_a_list_is_named_by_its_position() -> None:
    many = [{"kind": "inner"}, {"kind": "inner", "rate": 0}]
    assert refused(size=1, many=many).startswith("params.yaml: outer.many.1.rate: 0 is not allowed")
    assert "outer.many.0.kind: " in refused(size=1, many=[{"kind": "iner"}])


def test_a_value_that_fits_none_of_several_types_is_named_once() -> None:
    message = refused(size=1, free={"a": [1]})
    assert message.startswith("params.yaml: outer.free.a: [1] is not allowed; ")
    assert len(message.splitlines()) == 1


def test_a_value_that_is_not_a_mapping_is_refused() -> None:
    with pytest.raises(ParameterError, match=r"params.yaml: outer: null is not allowed"):
        build(Outer, None, "params.yaml: outer")  # type: ignore[arg-type]
