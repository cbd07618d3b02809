"""The operations of an ordinary training and its evaluation, one stream of random numbers for all.

An operation inserted, left out or drawing otherwise would change the digests of all that follow: new ones belong to
`further`.
"""

from collections.abc import Callable, Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from numerics.digests import Result, Results

CONVOLUTIONS = (
    # channels in, channels out, side of the kernel, stride, side of the image
    (3, 32, 5, 2, 32),
    (32, 64, 3, 2, 16),
    (64, 64, 3, 1, 8),
    (128, 128, 3, 1, 4),
    (64, 128, 1, 1, 8),
)
POSITIVE = ("exp", "log", "sqrt", "tanh", "sigmoid", "sin", "cos", "erf", "rsqrt")
"""Functions of positive numbers."""

Normal = Callable[..., Tensor]


def results(batch: int) -> Iterator[tuple[str, Results]]:
    """Name and result of each operation, in order.

    Args:
        batch: images at once.
    """
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    yield from _convolutions(normal, batch)
    left, right = normal(256, 128), normal(128, 64)
    yield from _products(normal, left, right)
    yield from _normalisations(normal, batch)
    yield from _elementwise(normal(256, 512))
    yield "cdist", torch.cdist(left, left)
    yield from _images(normal, batch)
    yield from _optimisers(normal)
    yield from _linear_algebra(left)
    yield from _numpy(left.numpy(), right.numpy())


def _convolutions(normal: Normal, batch: int) -> Iterator[tuple[str, Results]]:
    for inputs, outputs, kernel, stride, side in CONVOLUTIONS:
        images = _laid_out(normal(batch, inputs, side, side)).requires_grad_()
        weights = _laid_out(normal(outputs, inputs, kernel, kernel) * 0.1).requires_grad_()
        maps = F.conv2d(images, weights, stride=stride, padding=kernel // 2)
        by_images, by_weights = torch.autograd.grad(maps, (images, weights), _laid_out(normal(*maps.shape)))
        parts = {"forward": maps, "by_images": by_images, "by_weights": by_weights}
        for part, values in parts.items():
            yield f"convolution_{inputs}_{outputs}_{kernel}x{kernel}.{part}", values


def _laid_out(values: Tensor) -> Tensor:
    return values.contiguous(memory_format=torch.channels_last)


def _products(normal: Normal, left: Tensor, right: Tensor) -> Iterator[tuple[str, Results]]:
    yield "matmul", left @ right
    yield "matmul_transposed", left.t() @ normal(256, 64)
    yield "gram", left @ left.t()
    yield "linear", F.linear(left, right.t().contiguous(), normal(64))
    yield "bmm", torch.bmm(normal(8, 32, 16), normal(8, 16, 32))


def _normalisations(normal: Normal, batch: int) -> Iterator[tuple[str, Results]]:
    maps = _laid_out(normal(batch, 64, 8, 8)).requires_grad_()
    normalised = F.group_norm(maps, 8)
    yield "group_norm", normalised
    yield "group_norm.backward", torch.autograd.grad(normalised, maps, normal(*normalised.shape))
    rows = normal(256, 64).requires_grad_()
    normalised = F.batch_norm(rows, None, None, training=True)
    yield "batch_norm", (normalised, *torch.autograd.grad(normalised, rows, normal(256, 64)))


def _elementwise(logits: Tensor) -> Iterator[tuple[str, Results]]:
    yield "softmax", logits.softmax(1)
    yield "log_softmax", logits.log_softmax(1)
    yield "logsumexp", logits.logsumexp(1)
    for name in POSITIVE:
        yield name, getattr(torch, name)(logits.abs() + 0.1)
    yield "pow", logits.abs() ** 2.4
    yield "gelu", F.gelu(logits)
    yield "sum", logits.sum()
    yield "mean", logits.mean(0)
    yield "var", logits.var(1)
    yield "std", logits.std(1)
    yield "normalize", F.normalize(logits)
    yield "cumsum", logits.cumsum(1)


def _images(normal: Normal, batch: int) -> Iterator[tuple[str, Results]]:
    images = normal(batch, 3, 32, 32)
    moves = 0.1 * normal(batch, 2, 3) + torch.eye(2, 3)
    yield "affine_grid", F.affine_grid(moves, list(images.shape), align_corners=False)
    yield "interpolate", F.interpolate(images, size=24, mode="bilinear", antialias=True)
    yield "average_pool", F.adaptive_avg_pool2d(normal(batch, 64, 4, 4), 1)


def _optimisers(normal: Normal) -> Iterator[tuple[str, Results]]:
    builders: dict[str, Callable[[list[Tensor]], torch.optim.Optimizer]] = {
        "sgd": lambda weights: torch.optim.SGD(weights, lr=0.01, momentum=0.9),
        "adamw": lambda weights: torch.optim.AdamW(weights, lr=0.01),
        "adamw_fused": lambda weights: torch.optim.AdamW(weights, lr=0.01, fused=True),
    }
    for name, build in builders.items():
        weights = normal(1000).requires_grad_()
        optimizer = build([weights])
        for _ in range(3):
            weights.grad = normal(1000)
            optimizer.step()
        yield name, weights


def _linear_algebra(rows: Tensor) -> Iterator[tuple[str, Results]]:
    gram = rows.t() @ rows
    yield "svd", torch.linalg.svdvals(rows)
    yield "eigh", torch.linalg.eigh(gram).eigenvalues
    yield "qr", torch.linalg.qr(rows).Q
    yield "inverse", torch.linalg.inv(gram + torch.eye(len(gram)))


def _numpy(left: np.ndarray, right: np.ndarray) -> Iterator[tuple[str, Result]]:
    wide = left.astype(np.float64)
    yield "numpy.matmul", left @ right
    yield "numpy.matmul_64", wide @ right.astype(np.float64)
    yield "numpy.exp", np.exp(left)
    yield "numpy.exp_64", np.exp(wide)
    yield "numpy.log_64", np.log(np.abs(wide) + 0.1)
    yield "numpy.cos_64", np.cos(wide)
    yield "numpy.svd", np.linalg.svd(left, compute_uv=False)
    yield "numpy.solve_64", np.linalg.solve(wide.T @ wide + np.eye(wide.shape[1]), wide.T[:, :3])
