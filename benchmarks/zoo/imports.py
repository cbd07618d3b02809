"""Which modules a module runs, found by reading import statements, of which DVC knows nothing."""

import ast
import functools
from collections.abc import Iterable, Iterator
from pathlib import Path

PLACES = {"repflow": Path(__file__).parents[2] / "src", "zoo": Path(__file__).parents[1]}
"""Package to the folder that it lies in."""


def closure(roots: Iterable[str], places: dict[str, Path] | None = None) -> dict[str, Path]:
    """Name and file of the modules that importing `roots` runs, and of those that functions in them import later.

    Packages whose own module only says what they are do not count, nor what is imported for type checkers alone.

    Args:
        roots: names of modules.
        places: package to the folder that it lies in; all other packages are left out.
    """
    places = places or PLACES
    found: dict[str, Path] = {}
    waiting, seen = set(roots), set()
    while waiting:
        name = waiting.pop()
        seen.add(name)
        path = _path(name, places)
        if path is None:
            continue
        if not only_says_what_it_is(path):
            found[name] = path
        parents = {name.rsplit(".", depth)[0] for depth in range(1, name.count(".") + 1)}
        waiting |= (parents | imported(path)) - seen
    return found


def _path(name: str, places: dict[str, Path]) -> Path | None:
    """The file of a module; None where there is none, as of a function that is imported like one."""
    place = places.get(name.partition(".")[0])
    if place is None:
        return None
    folder = place.joinpath(*name.split("."))
    return next((path for path in (folder / "__init__.py", folder.with_suffix(".py")) if path.is_file()), None)


@functools.cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def only_says_what_it_is(path: Path) -> bool:
    """Whether a package's own module holds nothing but its docstring and plain values."""
    return path.name == "__init__.py" and all(
        isinstance(each, ast.Assign | ast.Expr) and isinstance(each.value, ast.Constant) for each in _tree(path).body
    )


@functools.cache
def imported(path: Path) -> frozenset[str]:
    """What the file imports, anywhere: of `from a import b` both "a" and "a.b", whichever is a module."""
    names = set()
    for each in _statements(_tree(path)):
        if isinstance(each, ast.Import):
            names |= {alias.name for alias in each.names}
        elif isinstance(each, ast.ImportFrom) and each.module is not None:
            names |= {each.module, *(f"{each.module}.{alias.name}" for alias in each.names)}
    return frozenset(names)


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes, without the blocks for type checkers."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and isinstance(child.test, ast.Name) and child.test.id == "TYPE_CHECKING":
            continue
        yield child
        yield from _statements(child)
