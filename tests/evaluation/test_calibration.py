"""The expected calibration error, by hand and against torchmetrics."""

import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import multiclass_calibration_error

from repflow.evaluation.calibration import reliability


@pytest.mark.parametrize(("rows", "classes", "bins"), [(1, 2, 15), (500, 10, 15), (500, 3, 7)])
def test_expected_calibration_error_equals_torchmetrics(rows, classes, bins):
    generator = np.random.default_rng(rows + classes)
    probabilities = generator.dirichlet(np.full(classes, 0.3), rows)
    labels = generator.integers(0, classes, rows)
    expected = multiclass_calibration_error(
        torch.from_numpy(probabilities), torch.from_numpy(labels), num_classes=classes, n_bins=bins
    )
    assert reliability(probabilities, labels, bins).error == pytest.approx(float(expected), abs=1e-6)


def test_expected_calibration_error_by_hand():
    """Two rows at .9 of which one is right, two at .6 that are both right: (2 * .4 + 2 * .4) / 4."""
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.6, 0.4]])
    binned = reliability(probabilities, np.array([0, 1, 0, 0]))
    assert binned.error == pytest.approx(0.4)
    assert binned.rows.sum() == 4


def test_certain_and_right_is_calibrated():
    assert reliability(np.eye(4), np.arange(4)).error == 0
