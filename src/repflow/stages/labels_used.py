"""How many labels of the source a run uses in all: to train with, and to choose models by."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from repflow.data.read.rows import Side

if TYPE_CHECKING:
    from repflow.data.splits import SplitConfig


def labels_used(
    manifest: pd.DataFrame, sides: np.ndarray, classes: tuple[str, ...], config: "SplitConfig"
) -> dict[str, int | str]:
    """The labels of the source that are used, as numbers, and where those come from that models are chosen by.

    Args:
        manifest: the readable rows of the source.
        sides: the side of every row, a value of `Side`: str [N].
        classes: names of the source's classes.
        config: how it was split.

    Returns:
        `training`, `validation`, and `all` of them; `choosing_by`: "a given split", "labels of the budget", "labels
        beside the budget", or "a share of the labels" where there is no budget. Labels of test rows only judge.
    """
    known = manifest["given_class"].isin(classes).to_numpy(bool)
    training, validation = (int((known & (sides == side)).sum()) for side in (Side.LABELLED, Side.VALIDATION))
    if (manifest["split"] == "validation").any():
        choosing_by = "a given split"
    elif config.labels_per_class is None:
        choosing_by = "a share of the labels"
    else:
        choosing_by = "labels of the budget" if config.validation_within_budget else "labels beside the budget"
    return {
        "training": training,
        "validation": validation,
        "all": training + validation,
        "choosing_by": choosing_by,
    }


def in_words(used: Mapping[str, Any]) -> str:
    """One sentence about the result of `labels_used`."""
    return (
        f"{used['all']:,} labels of the source are used: {used['training']:,} to train with and {used['validation']:,}"
        f" to choose models by ({used['choosing_by']})"
    )
