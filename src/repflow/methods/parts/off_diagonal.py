"""The entries of a matrix beside its diagonal."""

from torch import Tensor


def off_diagonal(square: Tensor) -> Tensor:
    """A matrix [N, N] without its diagonal: [N, N - 1], each row in its order.

    By a view, since a mask makes the host wait for a GPU, to learn how many entries it takes.
    """
    count = len(square)
    return square.flatten()[1:].view(count - 1, count + 1)[:, :-1].reshape(count, count - 1)
