"""What makes learning or judging impossible is said when the split is made."""

import numpy as np
import pandas as pd
import pytest

from repflow.data.judgeable import check_judgeable
from repflow.errors import DataError

ENOUGH = [("cat", "labelled"), ("dog", "labelled"), ("cat", "validation"), ("dog", "test")]


def check(*rows: tuple[str | None, str]) -> None:
    given = pd.array([name for name, _ in rows], dtype="string")
    check_judgeable(pd.DataFrame({"given_class": given}), np.array([side for _, side in rows]), ("cat", "dog"))


def test_two_classes_with_images_to_choose_and_test_by_are_enough() -> None:
    check(*ENOUGH, (None, "unlabelled"))


@pytest.mark.parametrize(
    ("missing", "replaced", "message"),
    [
        (1, ("dog", "excluded"), "all labels of training images are 'cat'"),
        (1, ("cat", "labelled"), "all labels of training images are 'cat'"),
        (2, (None, "validation"), r"no labelled image is in the validation split.*raise split\.validation"),
        (3, ("bird", "test"), r"no labelled image is in the test split.*raise split\.test"),
    ],
)
def test_what_is_missing_is_said_with_advice(missing: int, replaced: tuple[str | None, str], message: str) -> None:
    rows = [*ENOUGH[:missing], replaced, *ENOUGH[missing + 1 :]]
    with pytest.raises(DataError, match=message):
        check(*rows)


def test_no_label_in_training_is_said() -> None:
    with pytest.raises(DataError, match="no training image has a label"):
        check(("cat", "test"), ("dog", "validation"), (None, "unlabelled"))
