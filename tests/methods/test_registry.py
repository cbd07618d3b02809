"""Methods introduce themselves: the report and the model's folder say what the module's opening lines say."""

import importlib
import pkgutil
import sys
from types import ModuleType

import pytest

from repflow.methods.registry import FAMILIES, find_method, introduction

METHODS = [
    (family, found.name)
    for family in FAMILIES
    for found in pkgutil.iter_modules(importlib.import_module(f"repflow.methods.{family}").__path__)
]


@pytest.mark.parametrize(("family", "name"), METHODS)
def test_every_method_says_its_name_and_what_it_does(family: str, name: str) -> None:
    method, _ = find_method(family, name)
    said = introduction(method)
    assert said["name"].lower().replace(" ", "_").replace("-", "_").startswith(name[:4])
    assert said["about"].endswith(".")
    assert "\n" not in said["about"]


def test_the_paper_is_what_stands_up_to_the_year(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("made_up")
    module.__doc__ = (
        "Name: does\n    this.\n\n    Some, One. Title: with\n    a colon. ICML 2020. As in Other (JMLR 2016), else."
    )
    monkeypatch.setitem(sys.modules, "made_up", module)
    method = type("Method", (), {"__module__": "made_up"})
    said = introduction(method)
    assert said == {"name": "Name", "about": "does this.", "paper": "Some, One. Title: with a colon. ICML 2020."}
    module.__doc__ = "No colon here."
    assert introduction(method) == {"name": "Method", "about": "No colon here.", "paper": ""}
