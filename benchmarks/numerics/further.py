"""More operations, each with random numbers of its own: what methods, augmentation, probes and the report use."""

import zlib
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from numerics import learned
from numerics.digests import Operation, Results
from repflow.hardware.portable_math import arctangent, distances, logarithm, square_root, squared_distances

FUNCTIONS = (
    *("acos", "asin", "atan", "tan", "cosh", "sinh", "acosh", "asinh", "atanh", "exp2", "expm1", "log1p", "log2"),
    *("log10", "erfc", "erfinv", "lgamma", "digamma", "logit", "reciprocal", "i0"),
)
ACTIVATIONS = ("silu", "mish", "elu", "selu", "softplus", "hardswish", "logsigmoid", "relu6", "leaky_relu")
WIDE = (*FUNCTIONS, "exp", "log", "sqrt", "tanh", "sin", "cos", "erf", "rsqrt", "sigmoid")
"""Functions that are computed in double precision as well."""
SIZES = (1, 7, 1000)
"""Of short inputs, which may take another path."""


def operations(batch: int) -> dict[str, Operation]:
    """Name to operation.

    Args:
        batch: images at once.
    """
    named = {
        **_functions(),
        **_reductions(),
        **_images(batch),
        **_layers(batch),
        **_losses(),
        **_linear_algebra(),
        **_random(),
        **_optimisers(),
    }
    bound: dict[str, Operation] = {name: partial(operation, Numbers(name)) for name, operation in named.items()}
    return bound | learned.operations()


class Numbers:
    """Random numbers that depend on the name of an operation alone."""

    def __init__(self, name: str):
        self.generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))

    def normal(self, *shape: int) -> Tensor:
        """Normal numbers."""
        return torch.randn(shape, generator=self.generator)

    def uniform(self, *shape: int) -> Tensor:
        """Numbers in [0, 1)."""
        return torch.rand(shape, generator=self.generator)


Drawing = Callable[[Numbers], Results]


def _functions() -> dict[str, Drawing]:
    def function(name: str, numbers: Numbers) -> Results:
        inside = 0.01 + 0.98 * numbers.uniform(256, 512)  # where every one of them is defined, or one more
        return getattr(torch, name)(inside + (name == "acosh"))  # type: ignore[no-any-return]

    def activation(name: str, numbers: Numbers) -> Results:
        inputs = numbers.normal(256, 512).requires_grad_()
        outputs = getattr(F, name)(inputs)
        return outputs, *torch.autograd.grad(outputs.sum(), inputs)

    def wide(name: str, numbers: Numbers) -> Results:
        inside = 0.01 + 0.98 * numbers.uniform(256, 512).double()
        return getattr(torch, name)(inside + (name == "acosh"))  # type: ignore[no-any-return]

    def short(name: str, size: int, numbers: Numbers) -> Results:
        return getattr(torch, name)(numbers.uniform(size) + 0.1)  # type: ignore[no-any-return]

    return {
        **{name: partial(function, name) for name in FUNCTIONS},
        **{name: partial(activation, name) for name in ACTIVATIONS},
        **{f"{name}_64": partial(wide, name) for name in WIDE},
        **{f"{name}_of_{size}": partial(short, name, size) for name in ("sqrt", "exp", "rsqrt") for size in SIZES},
        "sqrt_strided": lambda numbers: numbers.uniform(256, 512)[:, ::2].sqrt(),
        "pow_half": lambda numbers: numbers.uniform(256, 512) ** 0.5,
        "pow_third": lambda numbers: numbers.uniform(256, 512) ** (1 / 3),
        "pow_tensors": lambda numbers: numbers.uniform(256, 512) ** numbers.uniform(256, 512),
        "hypot": lambda numbers: torch.hypot(numbers.normal(256, 512), numbers.normal(256, 512)),
        "atan2": lambda numbers: torch.atan2(numbers.normal(256, 512), numbers.normal(256, 512)),
        "arctangent": lambda numbers: arctangent(numbers.normal(256, 512)),
        "logarithm": lambda numbers: logarithm(numbers.uniform(256, 512).double() + 0.01),
        "square_root": lambda numbers: square_root(numbers.uniform(256, 512)),
        "square_root_64": lambda numbers: square_root(numbers.uniform(256, 512).double()),
        "distances": lambda numbers: distances(numbers.normal(300, 48), numbers.normal(64, 48)),
        "distances_of_few": lambda numbers: distances(numbers.normal(9, 2), numbers.normal(7, 2)),
        "squared_distances": lambda numbers: squared_distances(numbers.normal(300, 48), numbers.normal(64, 48)),
        "cdist_of_few": lambda numbers: torch.cdist(numbers.normal(9, 2), numbers.normal(7, 2)),
    }


def _reductions() -> dict[str, Drawing]:
    return {
        "norm": lambda numbers: numbers.normal(256, 512).norm(dim=1),
        "norm_of_all": lambda numbers: numbers.normal(256, 512).norm(),
        "std_of_columns": lambda numbers: numbers.normal(256, 512).std(0),
        "std_mean": lambda numbers: torch.std_mean(numbers.normal(16, 3, 32, 32), (0, 2, 3)),
        "prod": lambda numbers: numbers.uniform(256, 32).prod(1),
        "cumprod": lambda numbers: numbers.uniform(256, 32).cumprod(1),
        "logcumsumexp": lambda numbers: numbers.normal(256, 32).logcumsumexp(1),
        "quantile": lambda numbers: numbers.normal(256, 32).quantile(0.3, dim=1),
        "topk": lambda numbers: tuple(numbers.normal(256, 512).topk(5)),
        "sort": lambda numbers: tuple(numbers.normal(256, 512).sort(1)),
        "einsum": lambda numbers: torch.einsum("bqhw,qc->bchw", numbers.normal(8, 48, 8, 8), numbers.normal(48, 2)),
        "scatter_add": lambda numbers: torch.zeros(8).index_add_(0, torch.arange(4096) % 8, numbers.normal(4096)),
        "sum_64": lambda numbers: numbers.normal(256, 512).double().sum(),
        "softmax_64": lambda numbers: numbers.normal(256, 512).double().softmax(1),
    }


def _images(batch: int) -> dict[str, Drawing]:
    def sampled(numbers: Numbers) -> Results:
        places = 2 * numbers.uniform(batch, 32, 32, 2) - 1
        return F.grid_sample(numbers.uniform(batch, 3, 32, 32), places, align_corners=False)

    def blurred(numbers: Numbers) -> Results:
        images, kernels = numbers.uniform(1, 3 * batch, 32, 32), numbers.uniform(3 * batch, 1, 1, 5)
        return F.conv2d(images, kernels, groups=3 * batch, padding=(0, 2))

    def patches(numbers: Numbers) -> Results:
        return F.unfold(numbers.uniform(batch, 3, 32, 32), kernel_size=8, stride=8)

    return {
        "grid_sample": sampled,
        "blur": blurred,
        "unfold": patches,
        "max_pool": lambda numbers: F.max_pool2d(numbers.normal(batch, 32, 16, 16), 2),
        "nearest": lambda numbers: F.interpolate(numbers.normal(batch, 32, 4, 4), scale_factor=2),
        "bicubic": lambda numbers: F.interpolate(numbers.uniform(batch, 3, 32, 32), size=20, mode="bicubic"),
    }


def _backward(outputs: Tensor, inputs: tuple[Tensor, ...], numbers: Numbers) -> Results:
    return outputs, *torch.autograd.grad(outputs, inputs, numbers.normal(*outputs.shape))


def _layers(batch: int) -> dict[str, Drawing]:
    def layer_norm(numbers: Numbers) -> Results:
        tokens = numbers.normal(batch, 17, 64).requires_grad_()
        return _backward(F.layer_norm(tokens, (64,)), (tokens,), numbers)

    def attention(numbers: Numbers) -> Results:
        query, key, value = (numbers.normal(batch, 4, 17, 16).requires_grad_() for _ in range(3))
        return _backward(F.scaled_dot_product_attention(query, key, value), (query, key, value), numbers)

    def transposed(numbers: Numbers) -> Results:
        maps, weights = numbers.normal(batch, 64, 4, 4).requires_grad_(), numbers.normal(64, 32, 4, 4).requires_grad_()
        return _backward(F.conv_transpose2d(maps, weights, stride=2, padding=1), (maps, weights), numbers)

    def convolution(wide: bool, side: int, numbers: Numbers) -> Results:
        maps, weights = numbers.normal(batch, 24, side, side), 0.1 * numbers.normal(40, 24, 3, 3)
        if wide:
            maps, weights = maps.double(), weights.double()
        maps, weights = maps.requires_grad_(), weights.requires_grad_()
        outputs = F.conv2d(maps, weights, padding=1)
        return outputs, *torch.autograd.grad(outputs, (maps, weights), torch.ones_like(outputs))

    def batch_norm(numbers: Numbers) -> Results:
        maps = numbers.normal(batch, 32, 8, 8).contiguous(memory_format=torch.channels_last).requires_grad_()
        return _backward(F.batch_norm(maps, None, None, training=True), (maps,), numbers)

    return {
        "layer_norm": layer_norm,
        "attention": attention,
        "conv_transpose": transposed,
        "convolution_of_odd_size": partial(convolution, False, 7),
        "convolution_64": partial(convolution, True, 8),
        "batch_norm_of_maps": batch_norm,
    }


def _losses() -> dict[str, Drawing]:
    def loss(name: str, targets: Callable[[Numbers], Tensor], numbers: Numbers) -> Results:
        logits = numbers.normal(64, 10).requires_grad_()
        found = getattr(F, name)(logits, targets(numbers))
        return found, *torch.autograd.grad(found, logits)

    def classes(numbers: Numbers) -> Tensor:
        return torch.randint(10, (64,), generator=numbers.generator)

    def shares(numbers: Numbers) -> Tensor:
        return numbers.normal(64, 10).softmax(1)

    return {
        "cross_entropy": partial(loss, "cross_entropy", classes),
        "cross_entropy_with_shares": partial(loss, "cross_entropy", shares),
        "binary_cross_entropy": partial(loss, "binary_cross_entropy_with_logits", shares),
        "mse": partial(loss, "mse_loss", shares),
        "kl_divergence": partial(loss, "kl_div", shares),
        "smooth_l1": partial(loss, "smooth_l1_loss", shares),
    }


def _linear_algebra() -> dict[str, Drawing]:
    def positive(numbers: Numbers) -> Tensor:
        rows = numbers.normal(96, 48)
        return rows.mT @ rows + torch.eye(48)

    return {
        "matmul_64": lambda numbers: numbers.normal(200, 128).double() @ numbers.normal(128, 64).double(),
        "matmul_of_few": lambda numbers: numbers.normal(3, 5) @ numbers.normal(5, 2),
        "matrix_vector": lambda numbers: numbers.normal(200, 128) @ numbers.normal(128),
        "dot": lambda numbers: numbers.normal(5000) @ numbers.normal(5000),
        "cholesky": lambda numbers: torch.linalg.cholesky(positive(numbers)),
        "solve": lambda numbers: torch.linalg.solve(positive(numbers), numbers.normal(48, 3)),
        "slogdet": lambda numbers: tuple(torch.linalg.slogdet(positive(numbers))),
        "lstsq": lambda numbers: torch.linalg.lstsq(numbers.normal(96, 48), numbers.normal(96, 3)).solution,
        "eigenvectors": lambda numbers: tuple(torch.linalg.eigh(positive(numbers))),
        "singular_vectors": lambda numbers: tuple(torch.linalg.svd(numbers.normal(96, 48), full_matrices=False)),
        "fft": lambda numbers: torch.view_as_real(torch.fft.fft2(numbers.normal(8, 32, 32))),
    }


def _random() -> dict[str, Drawing]:
    shape = (100, 30)
    return {
        "random.normal": lambda numbers: numbers.normal(*shape),
        "random.few_normal": lambda numbers: numbers.normal(7),
        "random.uniform": lambda numbers: numbers.uniform(*shape),
        "random.permutation": lambda numbers: torch.randperm(1000, generator=numbers.generator),
        "random.exponential": lambda numbers: torch.empty(shape).exponential_(generator=numbers.generator),
        "random.gamma": lambda numbers: torch._standard_gamma(numbers.uniform(*shape), generator=numbers.generator),
        "random.choice": lambda numbers: torch.multinomial(numbers.uniform(50, 20), 5, generator=numbers.generator),
        "random.bernoulli": lambda numbers: torch.bernoulli(numbers.uniform(*shape), generator=numbers.generator),
    }


def _optimisers() -> dict[str, Drawing]:
    def optimiser(build: Callable[[list[Tensor]], torch.optim.Optimizer], size: int, numbers: Numbers) -> Results:
        weights = numbers.normal(size).requires_grad_()
        optimizer = build([weights])
        for _ in range(3):
            weights.grad = numbers.normal(size)
            optimizer.step()
        return weights

    def average(numbers: Numbers) -> Results:
        return torch.lerp(numbers.normal(5000), numbers.normal(5000), 0.01)

    def clipped(numbers: Numbers) -> Results:
        weights = [numbers.normal(100).requires_grad_() for _ in range(3)]
        for each in weights:
            each.grad = numbers.normal(100)
        norm = torch.nn.utils.clip_grad_norm_(weights, 1.0)
        return norm, *(each.grad for each in weights if each.grad is not None)

    sgd = partial(torch.optim.SGD, lr=0.01, momentum=0.9, nesterov=True, weight_decay=0.01, fused=True)
    adam = partial(torch.optim.Adam, lr=0.01, weight_decay=0.01, fused=True)
    adamw = partial(torch.optim.AdamW, lr=0.01, weight_decay=0.1, fused=True)
    return {
        "sgd_fused": partial(optimiser, sgd, 1003),
        "adam_fused": partial(optimiser, adam, 1003),
        "adamw_fused_large": partial(optimiser, adamw, 70_001),
        "moving_average": average,
        "clipped_gradients": clipped,
    }
