"""Descriptions of methods, from the docstrings of their modules: "Name: what it does.", and below it the paper.

Modules are not imported for it, which would take seconds.
"""

import ast
import inspect
import io
import re
import tokenize
from pathlib import Path


def read_family(folder: Path) -> dict[str, dict[str, str]]:
    """Name of each module in a family's folder to its description (`read_description`), sorted by name."""
    modules = sorted(path for path in folder.glob("*.py") if path.stem != "__init__")
    return {module.stem: read_description(module) for module in modules}


def described(opening: str, module: str) -> dict[str, str]:
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


def read_description(module: Path) -> dict[str, str]:
    """The description of a method whose module is not imported, which would take seconds."""
    return description_in(module.read_bytes(), module.stem)


def description_in(content: bytes, module: str) -> dict[str, str]:
    """The same from the content of a module; nothing but its first string is read."""
    tokens = tokenize.tokenize(io.BytesIO(content).readline)
    opening = next((token.string for token in tokens if token.type == tokenize.STRING), "''")
    return described(ast.literal_eval(opening), module)
