"""The leaderboard: every method on the same images, its frozen features read alike.

`FLOOR` names an encoder with random weights, `CEILING` one that was trained with all labels.
"""

from pathlib import Path

HERE = Path(__file__).absolute().parent
FLOOR, CEILING = "random_weights", "all_labels"
