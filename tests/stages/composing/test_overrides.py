"""A path needs no quotes but the shell's, and what is quoted for Hydra already stays."""

import pytest

from repflow.errors import ParameterError
from repflow.stages.composing.overrides import parse, quoted

PATHS = [
    "photos (1)",
    "a=b",
    "~/pics",
    "Müller/é",
    "x,y",
    "#1",
    "it's",
    'say "a"',
    "[x]",
    "{x}",
    "2024",
    "true",
    "a\\",
]


@pytest.mark.parametrize("key", ["data.source.path", "data.target.photos.path", "data.root", "+data.source.images"])
@pytest.mark.parametrize("path", PATHS)
def test_a_path_is_taken_as_it_stands(key: str, path: str) -> None:
    (override,) = parse([quoted(f"{key}={path}")])
    assert override.value() == path


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("data.source.path='a (1)'", "a (1)"),
        ('data.source.path="a,b"', "a,b"),
        ("data.source.images=null", None),
        ("data.source.path=${data.target.path}", "${data.target.path}"),
        ("seed=3", 3),
        ("adapt=[a,b]", ["a", "b"]),
        ("report.title=Ganin et al. (2016)", "Ganin et al. (2016)"),
    ],
)
def test_what_hydra_can_read_stays(override: str, value: object) -> None:
    assert parse([quoted(override)])[0].value() == value


def test_several_values_are_refused() -> None:
    with pytest.raises(ParameterError, match="sweeps are not supported"):
        parse([quoted("seed=1,2")])
