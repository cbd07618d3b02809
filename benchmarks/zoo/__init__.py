"""The leaderboard: every pretraining method on the same images, compared by probes of its frozen features.

`FLOOR` is the baseline with random weights, `CEILING` the one that was trained with all labels. A method with its own
encoder has its own baseline with random weights.
"""

from pathlib import Path

from repflow.hardware.cpu import pin

pin("avx2")  # before a module of this package imports PyTorch: what is found does not depend on the CPU's maker

HERE = Path(__file__).absolute().parent
FLOOR, CEILING = "random_weights", "all_labels"
LONG = "-long"
"""Ends the name of a leaderboard that has the images of another one, and a longer training."""


def floor_of(method: str) -> str:
    """The name of the random-weights baseline of a method with its own encoder."""
    return f"{FLOOR}_of_{method}"


def is_floor(name: str) -> bool:
    """Whether an entry is a baseline with random weights."""
    return name.startswith(FLOOR)
