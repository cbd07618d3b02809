"""Digests of modules by what they do, and of everything that a program runs."""

import ast
import functools
import hashlib
from collections.abc import Iterable, Mapping

from repflow.fingerprints.closure import closure, parse
from repflow.fingerprints.source import Source


def fingerprint(roots: Iterable[str], source: Source) -> dict[str, str]:
    """Name to digest of everything that importing `roots` runs.

    Names are those of modules, and paths of other files (templates, tables) in the folders of their packages. A digest
    has 16 hexadecimal digits; that of a module does not change with comments, docstrings, layout, or the version of
    Python that computes it, and none with the line endings that git may write.

    Args:
        roots: names of modules.
        source: where they are read.

    Raises:
        SyntaxError: a module is not valid Python.
    """
    modules = closure(roots, source)
    packages = {path.rpartition("/")[0] for path in modules.values()}
    data = {path for package in packages for path in source.data_files(package)}
    digests = {name: code_digest(source.read(path) or b"") for name, path in modules.items()}
    return digests | {path: _digest(_with_line_feeds(source.read(path) or b"")) for path in sorted(data)}


def differences(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """The names that are in one of two fingerprints only or have another digest, sorted."""
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))


@functools.lru_cache(maxsize=4096)
def code_digest(content: bytes) -> str:
    """The digest of what a module does."""
    tokens: list[str] = []
    _add_tokens(parse(content), tokens)
    return _digest("\n".join(tokens).encode())


def _with_line_feeds(content: bytes) -> bytes:
    """Text with the line endings that git keeps; other files as they are, told by a zero byte as git does."""
    return content if b"\0" in content else content.replace(b"\r\n", b"\n")


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _add_tokens(node: object, tokens: list[str]) -> None:
    """Append the syntax tree as text. `ast.dump` and `ast.unparse` differ between versions of Python; this does not."""
    if isinstance(node, ast.JoinedStr):
        # Some versions of Python end a format with an empty string.
        node = ast.JoinedStr([each for each in node.values if not _is_empty_string(each)])
    if isinstance(node, ast.AST):
        tokens.append(type(node).__name__)
        for name in node._fields:
            value = getattr(node, name, None)
            if value is not None and value != [] and name not in _SILENT:
                tokens.append(f".{name}")
                _add_tokens(value, tokens)
        tokens.append(";")
    elif isinstance(node, list):
        for each in node:
            if not _is_docstring(each):
                _add_tokens(each, tokens)
    else:
        tokens.append(repr(node))


_SILENT = frozenset({"ctx", "kind", "type_comment"})
"""Fields that follow from where a node stands, or that only type checkers read."""


def _is_docstring(node: object) -> bool:
    """Whether a statement is a string and nothing else: a docstring, of an attribute as well."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _is_empty_string(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value == ""
