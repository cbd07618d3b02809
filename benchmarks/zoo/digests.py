"""What each stage of the leaderboard runs: `python -m zoo.digests` writes code/NAME.json, module to digest.

NAME is "prepare" or a method, and a training depends on its method's file. So a change of a module trains the methods
that run it and no other, and a new method trains itself alone. Comments, docstrings and layout do not count.
"""

import ast
import functools
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from repflow.files import writing
from zoo import HERE
from zoo.imports import closure

PREPARE = {"repflow.stages.ingest", "repflow.stages.split"}


def main() -> None:
    """Write a file for the data, and one for everything that has settings."""
    for name, modules in {"prepare": PREPARE, **roots(HERE / "settings")}.items():
        path = HERE / "code" / f"{name}.json"
        path.parent.mkdir(exist_ok=True)
        with writing(path) as fresh:
            fresh.write_text(json.dumps(digests(modules), indent=2) + "\n", encoding="utf-8")


def roots(settings: Path) -> dict[str, set[str]]:
    """Name to the modules that it is made of, of everything that has settings for a data set."""
    found: dict[str, set[str]] = {}
    for path in sorted(settings.glob("*/*.yaml")):
        section = yaml.safe_load(path.read_text(encoding="utf-8"))["method"]
        found.setdefault(path.stem, {"zoo.learn"}).update(methods_in(section, section["family"]))
    return found


def methods_in(values: Any, family: str) -> Iterator[str]:
    """What may be modules of methods of `family`, by all names in settings: the section's own, and those of tasks."""
    if isinstance(values, Mapping):
        if isinstance(values.get("name"), str):
            yield f"repflow.methods.{family}.{values['name']}"
        values = list(values.values())
    if isinstance(values, list):
        for each in values:
            yield from methods_in(each, family)


def digests(modules: set[str]) -> dict[str, str]:
    """Module to digest, of all that importing `modules` runs."""
    return {name: digest(path) for name, path in sorted(closure(modules).items())}


@functools.cache
def digest(path: Path) -> str:
    """SHA-256 of what a file does."""
    tree = _Unsaid().visit(ast.parse(path.read_text(encoding="utf-8")))
    return hashlib.sha256(ast.unparse(tree).encode()).hexdigest()


class _Unsaid(ast.NodeTransformer):
    """Leaves out docstrings."""

    def visit_Expr(self, node: ast.Expr) -> ast.Expr | None:
        said = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return None if said else node


if __name__ == "__main__":
    main()
