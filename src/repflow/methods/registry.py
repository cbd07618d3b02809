"""The registry of methods: a method exists by having a module in the folder of its family."""

import importlib
import inspect
from collections.abc import Iterator, Mapping
from typing import Any

from repflow.errors import ParameterError
from repflow.hardware.imports import without

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
        # lightly imports timm where it is installed, seconds for what no method uses.
        with without("timm"):
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
