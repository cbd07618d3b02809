"""What the module of a method says of it in its opening lines: "Name: what it does.", and below the paper."""

import ast
import inspect
import re
import tokenize
from pathlib import Path


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
    """The same for a module that is not imported, which would take seconds; none but its first string is read."""
    with module.open("rb") as lines:
        opening = next(
            (token.string for token in tokenize.tokenize(lines.readline) if token.type == tokenize.STRING), "''"
        )
    return introduced(ast.literal_eval(opening), module.stem)
