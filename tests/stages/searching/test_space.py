"""The search space is strict: all of it matches the section `finetune`, or no trial is run."""

from typing import Any

import pytest

from repflow.errors import ParameterError
from repflow.schema import Fraction, Positive, parameters
from repflow.stages.searching.space import check_space, distributions, read_space, round_point

RATE = {"type": "float", "low": 0.001, "high": 0.1, "log": True}


@parameters
class Settings:
    threshold: Fraction = 0.95
    rate: Positive = 0.01
    batch: int = 16
    kind: str | None = None
    stopping: dict[str, int] | None = None


SECTION = {"settings": {"threshold": 0.95, "rate": 0.01, "batch": 16, "kind": None, "stopping": None}}


def check(space: dict[str, Any]) -> dict[str, Any]:
    def rebuild(point: dict[str, Any]) -> Settings:
        from repflow.schema import build

        return build(Settings, {key.rpartition(".")[2]: value for key, value in point.items()}, "settings")

    return check_space(read_space(space, "tune.space"), SECTION, rebuild, "tune.space")


def test_the_current_parameters_are_the_first_point() -> None:
    space = {"settings": {"rate": RATE, "kind": {"type": "categorical", "choices": [None, "a"]}}}
    assert check(space) == {"settings.rate": 0.01, "settings.kind": None}


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (
            {"settings": {"treshold": RATE}},
            r"settings.treshold: finetune.settings has no 'treshold'; did you mean 'thre",
        ),
        ({"settings": {"stopping": {"every": RATE}}}, r"no such key while finetune.settings.stopping is null"),
        ({"settings": {"rate": {"each": RATE}}}, r"finetune.settings.rate has no 'each'"),
        ({"settings": {"threshold": {**RATE, "high": 1.5}}}, r"settings.threshold: 1.5 is not allowed"),
        ({"settings": {"rate": {**RATE, "low": 0.02}}}, r"finetune.settings.rate is 0.01, which is outside"),
        ({"settings": {"batch": {**RATE, "low": 8, "high": 32}}}, r"settings.batch: 8.0 is not allowed"),
        ({"settings": {"batch": {"type": "int", "low": 17, "high": 32}}}, r"batch is 16, which is outside"),
        ({"settings": {"kind": {"type": "categorical", "choices": ["a"]}}}, r"kind is None, which is outside"),
        ({"settings": {"kind": {"type": "categorical", "choices": [None, 3]}}}, r"settings.kind: 3 is not allowed"),
        ({"settings": {"rate": {**RATE, "low": 0.2}}}, r"tune.space.settings.rate: low 0.2 must be below high 0.1"),
        ({"settings": {"rate": {**RATE, "low": 0.0}}}, r"low 0.0 must be above 0 if log is true"),
        ({"settings": {"rate": {"type": "flat", "low": 1, "high": 2}}}, r"settings.rate.type: .*did you mean 'float'"),
        ({"settings": {"rate": {**RATE, "hihg": 1}}}, r"tune.space.settings.rate.*hihg: unknown parameter"),
        ({"settings": {"rate": 0.1}}, r"tune.space.settings.rate: 0.1 is not a range"),
        ({"settings": {"rate": {"type": "categorical", "choices": []}}}, r"tune.space.settings.rate"),
        ({"training": {"steps": {"type": "int", "low": 1, "high": 2}}}, r"training.steps: cannot be searched"),
        ({"training": {"early_stopping": {"every": RATE}}}, r"early_stopping.every: cannot be searched"),
    ],
)
def test_a_space_that_does_not_match_is_refused(space: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        check(space)


def test_every_problem_is_named_at_once() -> None:
    with pytest.raises(ParameterError, match=r"(?s)nothing.*threshold"):
        check({"settings": {"nothing": RATE, "threshold": {**RATE, "high": 2.0}}})


def test_sampled_floats_have_four_digits_and_stay_inside_their_range() -> None:
    space = read_space({"rate": {"type": "float", "low": 0.123456, "high": 0.345678}}, "space")
    assert round_point(space, {"rate": 0.2345678}) == {"rate": 0.2346}
    assert round_point(space, {"rate": 0.345672}) == {"rate": 0.345678}
    assert all(distributions(space)["rate"]._contains(value) for value in (0.123456, 0.345678))
