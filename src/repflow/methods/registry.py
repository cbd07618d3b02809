"""The registry of methods: a method exists by having a module in the folder of its family.

Its families and descriptions are read without importing PyTorch, which would take seconds.
"""

import ast
import importlib
import inspect
import io
import re
import sys
import tokenize
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from repflow.errors import ParameterError

FAMILIES = {"pretext": "pretrain", "clustering": "pretrain", "semisup": "finetune", "adaptation": "adapt"}
"""Folder of modules to the group of conf/ that chooses among them."""


def find_method(family: str, name: str) -> tuple[type[Any], type[Any]]:
    """Import the method class of `repflow.methods.FAMILY.NAME`, and the class of its parameters.

    Raises:
        ParameterError: there is no such module, or it does not hold exactly one method and a `Config`.
    """
    from repflow.training.contract import Method

    module_name = f"repflow.methods.{family}.{name}"
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not module_name.startswith(error.name):
            raise
        raise ParameterError(f"{family}.{name}: there is no method of this name (no module {module_name})") from error
    found = [
        value
        for value in vars(module).values()
        if inspect.isclass(value) and issubclass(value, Method) and value.__module__ == module_name
    ]
    if len(found) != 1 or not hasattr(module, "Config"):
        raise ParameterError(f"{module_name}: must hold a class `Config` and exactly one method, has {len(found)}")
    return found[0], module.Config


def modules_in(section: Mapping[str, Any]) -> set[str]:
    """The modules of the methods that a section of params.yaml names: its own, and those of tasks in its settings.

    Other names, such as an optimiser's, are among them as if they were methods; there are no modules of these names.
    """
    return {f"repflow.methods.{section.get('family')}.{name}" for name in _names_in(section)}


def _names_in(values: Any) -> Iterator[str]:
    if isinstance(values, Mapping):
        if isinstance(values.get("name"), str):
            yield values["name"]
        values = list(values.values())
    if isinstance(values, list):
        for each in values:
            yield from _names_in(each)


def read_family(folder: Path) -> dict[str, dict[str, str]]:
    """Name of each module in a family's folder to its description (`read_introduction`), sorted by name."""
    modules = sorted(path for path in folder.glob("*.py") if path.stem != "__init__")
    return {module.stem: read_introduction(module) for module in modules}


def introduction(method: type[Any]) -> dict[str, str]:
    """The description in the docstring of a method's module: `name`, `about` and `paper`, see `introduced`."""
    return introduced(sys.modules[method.__module__].__doc__ or "", method.__name__)


def introduced(opening: str, module: str) -> dict[str, str]:
    """The parts of a module's docstring.

    Args:
        opening: the docstring.
        module: stands for the name where the first line gives none.

    Returns:
        `name`; `about`, what it does; `paper`, the reference up to the year, "" where the module names none.
    """
    first, _, rest = inspect.cleandoc(opening).partition("\n\n")
    name, colon, about = " ".join(first.split()).partition(": ")
    if not colon:
        name, about = module, name
    paper = re.match(r".*?\b(19|20)\d\d\b", " ".join(rest.split()))
    return {"name": name, "about": about, "paper": f"{paper[0]}." if paper else ""}


def read_introduction(module: Path) -> dict[str, str]:
    """The description of a method whose module is not imported, which would take seconds."""
    return introduction_in(module.read_bytes(), module.stem)


def introduction_in(content: bytes, module: str) -> dict[str, str]:
    """The same from the content of a module; nothing but its first string is read."""
    tokens = tokenize.tokenize(io.BytesIO(content).readline)
    opening = next((token.string for token in tokens if token.type == tokenize.STRING), "''")
    return introduced(ast.literal_eval(opening), module)
