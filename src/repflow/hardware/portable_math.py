"""Operations whose digits are the same on the CPUs of every maker.

On the CPU, PyTorch takes some functions from MKL, which computes them from approximate instructions (such as RSQRTPS)
whose digits each maker chose: `sqrt`, and with it `x ** 0.5` and the usual `cdist`; `asin`, `acos`, `atan`, `log2` and
`log10`; in double precision `log`, `logit` and `tan`. Other kernels take the square root of IEEE 754, which has one
right answer, as `rsqrt`, norms and fused optimisers do, or are PyTorch's own, as `atan2` is. Tests find uses of the
former.
"""

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def square_root(values: "Tensor") -> "Tensor":
    """The square root of floating-point values of any shape, within two units in the last place; NaN below 0.

    Its gradient is that of `sqrt` for positive values, and NaN at 0.
    """
    return values.rsqrt().reciprocal()


def arctangent(values: "Tensor") -> "Tensor":
    """The arc tangent of floating-point values of any shape, in (-pi/2, pi/2)."""
    import torch

    return torch.atan2(values, torch.ones_like(values))


def logarithm(values: "Tensor") -> "Tensor":
    """The natural logarithm of positive double-precision values of any shape, to 1e-15 of its size or of 1.

    That of single precision, `log`, is portable itself.
    """
    import torch

    mantissa, exponent = torch.frexp(values)
    return exponent.to(values) * math.log(2) + (mantissa - 1).log1p()


def distances(points: "Tensor", others: "Tensor") -> "Tensor":
    """Euclidean distances of points [..., N, width] and [..., M, width]: [..., N, M].

    Each is computed by itself, from differences, so that equal points are exactly 0 apart. Large sets are faster by
    `squared_distances`.
    """
    import torch

    return torch.cdist(points, others, compute_mode="donot_use_mm_for_euclid_dist")


def squared_distances(points: "Tensor", others: "Tensor") -> "Tensor":
    """Squared Euclidean distances of points [..., N, width] and [..., M, width]: [..., N, M], at least 0.

    By a matrix product, |x|^2 - 2 xy + |y|^2, whose rounding errors grow with the lengths of the points.
    """
    lengths, other_lengths = points.square().sum(-1, keepdim=True), others.square().sum(-1, keepdim=True)
    return (lengths - 2 * points @ others.mT + other_lengths.mT).clamp(min=0)
