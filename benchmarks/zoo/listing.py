"""The list of all methods, from the docstrings of their modules."""

from pathlib import Path

from repflow.methods.descriptions import read_description, read_family
from repflow.methods.registry import FAMILIES


def listing(source: Path) -> str:
    """A table for each family of methods below the folder `source`, with a row for each of its modules."""
    return "\n".join(_table(source / family, group) for family, group in FAMILIES.items())


def _table(family: Path, group: str) -> str:
    title = read_description(family / "__init__.py")["name"]
    lines = [(f"`{group}=`", "method", "what it does", "source"), ("---", "---", "---", "---")]
    for name, found in read_family(family).items():
        lines.append((f"`{name}`", found["name"], found["about"][:1].upper() + found["about"][1:], found["paper"]))
    return f"### {title}\n\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines)
