"""Can anything be learned and judged with a split? Said before anything is trained."""

import numpy as np
import pandas as pd

from repflow.data.read.rows import Side
from repflow.errors import DataError

_ADVICE = {
    Side.VALIDATION: "label the images of the split `val` or, where the images come without it, raise split.validation",
    Side.TEST: "label the images of the split `test` or, where the images come without it, raise split.test",
}


def check_judgeable(manifest: pd.DataFrame, sides: np.ndarray, classes: tuple[str, ...]) -> None:
    """Check that the source has what the later stages need: two classes, and images to choose and test by.

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
        only = f"all labels of training images are {learned[0]!r}" if len(learned) else "no training image has a label"
        raise DataError(
            f"source: {only}, so there are no classes to tell apart; give two or more, each as a folder of its own or"
            " as a value of the column `label`"
        )
    for side, advice in _ADVICE.items():
        if not (known & (sides == side)).any():
            what = "choose by" if side is Side.VALIDATION else "test with"
            raise DataError(
                f"source: no labelled image is in the {side} split, so there is nothing to {what}; {advice}"
                " (a class is divided by itself only where it has three images or more)"
            )
