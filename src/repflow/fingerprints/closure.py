"""Which modules importing a module runs, found by reading import statements."""

import ast
import functools
from collections.abc import Iterable, Iterator

from repflow.fingerprints.source import Source


def closure(roots: Iterable[str], source: Source) -> dict[str, str]:
    """Name and path of the modules that importing `roots` runs, and of those that functions in them import later.

    A package counts with each of its modules, as Python runs its `__init__` first; one that holds nothing but a
    docstring and plain values does not. Imports below `if TYPE_CHECKING:` are left out, and so is everything that is
    not in `source`.

    Args:
        roots: names of modules.
        source: where they are read.
    """
    found: dict[str, str] = {}
    waiting, seen = set(roots), set()
    while waiting:
        name = waiting.pop()
        seen.add(name)
        path, content = _find(name, source)
        if content is None:
            continue
        is_package = path.endswith("/__init__.py")
        if not (is_package and _holds_no_code(content)):
            found[name] = path
        parents = {name.rsplit(".", depth)[0] for depth in range(1, name.count(".") + 1)}
        waiting |= (parents | imports(content, name if is_package else name.rpartition(".")[0])) - seen
    return dict(sorted(found.items()))


def _find(name: str, source: Source) -> tuple[str, bytes | None]:
    """Path and content of a module; None where there is none, as for a function that is imported like a module."""
    place = name.replace(".", "/")
    for path in (f"{place}/__init__.py", f"{place}.py"):
        content = source.read(path)
        if content is not None:
            return path, content
    return place, None


@functools.lru_cache(maxsize=4096)
def parse(content: bytes) -> ast.Module:
    """The syntax tree of a module; the same content is parsed once."""
    return ast.parse(content)


@functools.lru_cache(maxsize=4096)
def _holds_no_code(content: bytes) -> bool:
    return all(
        isinstance(each, ast.Assign | ast.Expr) and isinstance(each.value, ast.Constant) for each in parse(content).body
    )


@functools.lru_cache(maxsize=4096)
def imports(content: bytes, package: str) -> frozenset[str]:
    """What a module imports, anywhere in it: of `from a import b` both "a" and "a.b", whichever is a module.

    Args:
        content: of the module.
        package: that relative imports start from.
    """
    names = set()
    for each in _statements(parse(content).body):
        if isinstance(each, ast.Import):
            names |= {alias.name for alias in each.names}
        elif isinstance(each, ast.ImportFrom):
            above = package.split(".")[: package.count(".") + 2 - each.level] if each.level else []
            base = ".".join([*above, *([each.module] if each.module else [])])
            names |= {base, *(f"{base}.{alias.name}" for alias in each.names)}
    return frozenset(names)


def _statements(block: list[ast.stmt]) -> Iterator[ast.stmt]:
    """All statements of a block and of the blocks in it, without those for type checkers."""
    for each in block:
        yield each
        if isinstance(each, ast.If) and _is_for_type_checkers(each.test):
            yield from _statements(each.orelse)
            continue
        for name in ("body", "orelse", "finalbody"):
            yield from _statements(getattr(each, name, []))
        for part in (*getattr(each, "handlers", ()), *getattr(each, "cases", ())):
            yield from _statements(part.body)


def _is_for_type_checkers(test: ast.expr) -> bool:
    return (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING") or (
        isinstance(test, ast.Attribute) and test.attr == "TYPE_CHECKING"
    )
