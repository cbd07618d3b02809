"""Can anything be learned and judged with a split? Said before anything is trained."""

import numpy as np
import pandas as pd

from repflow.data.read.rows import Side
from repflow.errors import DataError

_ADVICE = {
    Side.VALIDATION: "raise split.validation, or give more images the split `val`",
    Side.TEST: "raise split.test, or give more images the split `test`",
}


def check_judgeable(manifest: pd.DataFrame, sides: np.ndarray, classes: tuple[str, ...]) -> None:
    """Check that the source has what the later stages need: two classes to tell apart, and images to choose and test by.

    Args:
        manifest: the readable rows of the source (`Store.readable`).
        sides: the side of every row, a value of `Side`: str [N].
        classes: names of the source's classes.

    Raises:
        DataError: fewer than two classes have a labelled image, or no labelled image is for validation or for testing.
    """
    known = manifest["given_class"].isin(classes).to_numpy(bool)
    learned = manifest["given_class"][known & (sides == Side.LABELLED)].unique()
    if len(learned) < 2:
        only = (
            f"all labelled training images are of one class, {learned[0]!r}" if len(learned) else "no image is labelled"
        )
        raise DataError(
            f"source: {only}, so there is nothing to tell apart; give two classes or more, each a folder of its own or a"
            " value of the column `label`"
        )
    for side, advice in _ADVICE.items():
        if not (known & (sides == side)).any():
            what = "choose by" if side is Side.VALIDATION else "test with"
            raise DataError(
                f"source: no labelled image is in the {side} split, so there is nothing to {what}; {advice}"
                " (a class is divided by itself only where it has three images or more)"
            )
