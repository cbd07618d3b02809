"""Nothing whose digits are a CPU maker's own is computed outside of `repflow.hardware.portable_math`.

A step of every method is watched in tests/methods/test_every_method.py.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import repflow
from numerics.watch import Watch
from repflow.hardware.portable_math import arctangent, distances, logarithm, square_root, squared_distances

SOURCE = Path(repflow.__file__).parent
NAMES = {
    *("sqrt", "sqrt_", "cdist", "pdist"),
    *("asin", "acos", "atan", "arcsin", "arccos", "arctan", "log2", "log10", "logdet", "slogdet"),
}
"""Functions that PyTorch takes from MKL; `rsqrt`, `norm`, `std` and `F.normalize` it does not."""
EXACT = {"math", "np", "numpy", "scipy"}
"""Modules that do not take them from MKL: their digits are the same for every maker."""
ALLOWED = {
    # Distances that are computed one by one take the exact instruction.
    ("hardware/portable_math.py", 'torch.cdist(points, others, compute_mode="donot_use_mm_for_euclid_dist")'),
}


def inexact(code: str) -> Iterator[str]:
    """What in `code` has, or may have, digits of a CPU maker's own."""
    for node in ast.walk(ast.parse(code)):
        match node:
            case ast.Call(func=ast.Attribute(value=value, attr=name)) if name in NAMES:
                if _root(value) not in EXACT:
                    yield ast.get_source_segment(code, node) or name
            case ast.ImportFrom(module=module, names=names) if any(each.name in NAMES for each in names):
                if (module or "").partition(".")[0] not in EXACT:
                    yield ast.get_source_segment(code, node) or "import"
            case ast.BinOp(op=ast.Pow(), right=right) if _is_half(right) and not _is_number(node.left):
                yield ast.get_source_segment(code, node) or "**"
            case ast.Call(func=ast.Attribute(attr="pow") | ast.Name(id="pow"), args=[*_, right]) if _is_half(right):
                yield ast.get_source_segment(code, node) or "pow"
            case ast.Call(func=ast.Attribute(value=ast.Attribute(attr="optim"), attr=name)) if name[0].isupper():
                if not any(each.arg == "fused" for each in node.keywords):
                    yield ast.get_source_segment(code, node) or name


def _root(node: ast.expr) -> str:
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def _is_half(node: ast.expr) -> bool:
    try:
        return bool(eval(compile(ast.Expression(node), "", "eval"), {"__builtins__": {}}) == 0.5)
    except Exception:
        return False


def _is_number(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant)


def test_no_source_file_takes_from_mkl_what_depends_on_the_cpu() -> None:
    found = {
        (path.relative_to(SOURCE).as_posix(), each)
        for path in sorted(SOURCE.rglob("*.py"))
        for each in inexact(path.read_text(encoding="utf-8"))
    }
    assert found == ALLOWED


@pytest.mark.parametrize(
    "code",
    [
        "x.var(0).sqrt()",
        "torch.sqrt(x)",
        "x.sqrt_()",
        "x ** 0.5",
        "x ** (1 / 2)",
        "x.pow(0.5)",
        "torch.pow(x, 1 / 2)",
        "torch.cdist(a, b)",
        "x.atan()",
        "torch.logdet(x)",
        "from torch import sqrt",
        "torch.optim.AdamW(weights, lr=0.1)",
    ],
)
def test_the_search_finds(code: str) -> None:
    assert list(inexact(code)) == [code]


@pytest.mark.parametrize(
    "code",
    [
        "math.sqrt(2)",
        "from scipy.spatial.distance import cdist",
        "np.sqrt(x)",
        "np.linalg.slogdet(x)",
        "x.rsqrt()",
        "x ** 2",
        "x ** -0.5",
        "width ** (1 / 3)",
    ],
)
def test_the_search_leaves_alone(code: str) -> None:
    assert list(inexact(code)) == []


def test_the_watch_sees() -> None:
    values = torch.ones(30, 40)
    for ask in (torch.sqrt, lambda x: x**0.5, lambda x: torch.cdist(x, x), torch.atan, lambda x: x.double().log()):
        with Watch() as watch:
            ask(values)
        assert watch.found
    with Watch() as watch:
        square_root(values), distances(values, values), squared_distances(values, values), values.std(0), values.norm()
        arctangent(values), logarithm(values.double()), values.log()
    assert not watch.found


def test_square_roots_are_right() -> None:
    values = torch.cat([torch.zeros(1), torch.rand(10_000, generator=torch.Generator().manual_seed(0)) * 100])
    exact = values.double().sqrt()
    assert (square_root(values) - exact).abs().div(exact.clamp(min=1e-30)).max() < 2**-22
    assert (square_root(values.double()) - exact).abs().max() < 1e-14
    assert square_root(torch.tensor(-1.0)).isnan()
    inputs = values[1:].double().requires_grad_()
    square_root(inputs).sum().backward()
    assert inputs.grad is not None
    assert torch.allclose(inputs.grad, 0.5 / exact[1:])


def test_distances_are_right() -> None:
    generator = torch.Generator().manual_seed(0)
    points, others = torch.randn(2, 30, 7, generator=generator), torch.randn(2, 40, 7, generator=generator)
    exact = (points[:, :, None] - others[:, None]).square().sum(-1)
    assert torch.allclose(distances(points, others), exact**0.5, atol=1e-5)
    assert torch.allclose(squared_distances(points, others), exact, atol=1e-4)
    assert (squared_distances(points, points) >= 0).all()
    assert (distances(points, points).diagonal(dim1=1, dim2=2) == 0).all()


def test_arctangents_and_logarithms_are_right() -> None:
    values = torch.linspace(-1e3, 1e3, 10_001, dtype=torch.float64)
    assert torch.allclose(arctangent(values), torch.from_numpy(np.arctan(values.numpy())), rtol=1e-15)
    positive = values.abs() + 1e-9
    assert torch.allclose(logarithm(positive), torch.from_numpy(np.log(positive.numpy())), rtol=1e-15, atol=1e-15)
