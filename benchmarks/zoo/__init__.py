"""The leaderboard: every method on the same images, its frozen features read alike.

`FLOOR` names an encoder with random weights, `CEILING` one that was trained with all labels. A method that brings an
encoder of its own has a floor of its own.
"""

from pathlib import Path

from repflow.hardware.cpu import pin

pin("avx2")  # before a module of this package imports PyTorch: what is found does not depend on the CPU's maker

HERE = Path(__file__).absolute().parent
FLOOR, CEILING = "random_weights", "all_labels"


def floor_of(method: str) -> str:
    """The name of the floor of a method with an encoder of its own."""
    return f"{FLOOR}_of_{method}"


def is_floor(name: str) -> bool:
    """Whether nothing is learned."""
    return name.startswith(FLOOR)
