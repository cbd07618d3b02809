"""The end of a training whose losses, gradients or weights are no longer finite: one message, with what to try."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from torch import Tensor

from repflow.errors import Diverged

if TYPE_CHECKING:
    from torch.amp import GradScaler

_LEAST_SCALE = 2.0**-24
"""The smallest number of half precision: gradients that are infinite at this scale are so at any."""


def loss_error(losses: Tensor, steps: int, of: int, scaler: "GradScaler | None") -> Diverged:
    """The error for a loss that is infinite or NaN.

    Args:
        losses: of this process in the last steps, [N].
        steps: how many steps are done.
        of: how many there would be.
        scaler: of gradients in half precision.
    """
    finite: list[bool] = losses.isfinite().tolist()
    first = finite.index(False) if False in finite else len(finite) - 1  # else it is another process's
    return _error(f"the loss is {losses[first].item()}", steps - len(finite) + first + 1, of, scaler)


def check_scale(steps: int, of: int, scaler: "GradScaler | None") -> None:
    """Check that a gradient scaler has not given up: it skips a step with infinite gradients, and halves its scale.

    A few such steps belong to half precision. Where all are skipped, nothing is learned, and the losses stay finite.

    Raises:
        Diverged: no scale is small enough.
    """
    if scaler is not None and scaler.get_scale() < _LEAST_SCALE:
        raise _error("the gradients are infinite or NaN at every scale", steps, of, scaler)


def check_weights(weights: Iterable[Tensor], steps: int, of: int, scaler: "GradScaler | None") -> None:
    """Check the weights after the last step, which no loss shows.

    Raises:
        Diverged: some are infinite or NaN.
    """
    if not all(bool(each.isfinite().all()) for each in weights):
        raise _error("there are weights that are infinite or NaN", steps, of, scaler)


def _error(what: str, step: int, of: int, scaler: "GradScaler | None") -> Diverged:
    half = "" if scaler is None else ", or hardware.precision=bf16-mixed, whose numbers reach as far as 32 bits"
    return Diverged(
        f"{what} at step {step} of {of}; try a lower training.optimizer.learning_rate, training.clip=1{half}"
    )
