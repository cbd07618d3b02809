"""Every method in the words of its own module."""

from pathlib import Path

from repflow.methods.registry import FAMILIES, read_family, read_introduction


def listing(source: Path) -> str:
    """A table for each family below the folder `source`, with a line for each of its modules."""
    return "\n".join(_table(source / family, group) for family, group in FAMILIES.items())


def _table(family: Path, group: str) -> str:
    title = read_introduction(family / "__init__.py")["name"]
    lines = [(f"`{group}=`", "method", "what it does", "source"), ("---", "---", "---", "---")]
    for name, said in read_family(family).items():
        lines.append((f"`{name}`", said["name"], said["about"][:1].upper() + said["about"][1:], said["paper"]))
    return f"### {title}\n\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines)
