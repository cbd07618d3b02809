"""The help, the docs and the report describe a method as the docstring of its module does."""

from pathlib import Path

import pytest

from repflow import methods
from repflow.methods.descriptions import description_in, read_family
from repflow.methods.registry import FAMILIES, find_method, modules_in

FOLDER = Path(methods.__path__[0])
METHODS = [(family, name, about) for family in FAMILIES for name, about in read_family(FOLDER / family).items()]


@pytest.mark.parametrize(("family", "name", "description"), METHODS, ids=[name for _, name, _ in METHODS])
def test_every_method_gives_its_name_and_what_it_does(family: str, name: str, description: dict[str, str]) -> None:
    method, _ = find_method(family, name)
    assert method.__module__ == f"repflow.methods.{family}.{name}"
    assert description["name"].lower().replace(" ", "_").replace("-", "_").startswith(name[:4])
    assert description["about"].endswith(".")
    assert "\n" not in description["about"]


def test_the_paper_ends_with_its_year() -> None:
    module = (
        '#!/usr/bin/env python\n"""Name: does\n    this.\n\n    Some, One. Title: with\n    a colon. ICML 2020. '
        'As in Other (JMLR 2016), else."""\nimport os\n'
    )
    paper = "Some, One. Title: with a colon. ICML 2020."
    assert description_in(module.encode(), "module") == {"name": "Name", "about": "does this.", "paper": paper}
    assert description_in(b'"""No colon here."""', "m") == {"name": "m", "about": "No colon here.", "paper": ""}
    assert description_in(b"x = 1", "m") == {"name": "m", "about": "", "paper": ""}


def test_a_section_names_its_own_method_and_those_of_its_tasks() -> None:
    section = {"family": "pretext", "name": "mixture", "settings": {"tasks": [{"name": "rotation"}, {"name": "gan"}]}}
    assert modules_in(section) == {f"repflow.methods.pretext.{name}" for name in ("mixture", "rotation", "gan")}
