"""A fitted linear model of scikit-learn as a linear layer of PyTorch."""

from typing import Any

import numpy as np
import torch
from torch import nn

NEVER = -1e4
"""The logit of a class that the model has not seen."""


def one_row_per_class(coefficients: np.ndarray, intercept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients [K, D] and intercepts [K], also for two classes, for which scikit-learn gives one row.

    The two logits are opposite, so that their softmax is scikit-learn's logistic function.
    """
    if len(coefficients) > 1:
        return coefficients, intercept
    return np.vstack([-coefficients, coefficients]) / 2, np.hstack([-intercept, intercept]) / 2


def fold(fitted: Any, layer: nn.Linear) -> None:
    """Set `layer` to a standardisation followed by a logistic regression, which together are one affine map.

    Args:
        fitted: a pipeline of `StandardScaler` and `LogisticRegression` for labels from 0 to K - 1.
        layer: [D] to [K]. Classes that the regression has not seen get the logit `NEVER`.
    """
    scaler, regression = fitted[0], fitted[1]
    weights, biases = one_row_per_class(regression.coef_, regression.intercept_)
    weights = weights / scaler.scale_
    with torch.no_grad():
        layer.weight.zero_()
        layer.bias.fill_(NEVER)
        for row, label in enumerate(regression.classes_):
            layer.weight[label] = torch.from_numpy(weights[row])
            layer.bias[label] = float(biases[row] - weights[row] @ scaler.mean_)
