"""The test results in words: above, not above and below the baseline."""

from typing import Any

import pytest

from repflow.stages.verdict import ADVICE, verdicts


def evaluation(low: float, high: float) -> dict[str, Any]:
    """Results of a fine-tuned model whose distance from the baseline lies between `low` and `high`."""
    scores = {"accuracy": 0.9, "low": 0.85, "high": 0.95}
    over = {"value": (low + high) / 2, "low": low, "high": high, "beyond": low > 0}
    return {
        "rows": {"source": 1200},
        "groups": {"source": 1200},
        "baseline": {"source": {"accuracy": 0.8, "low": 0.7, "high": 0.9}},
        "finetune": {"source": scores, "over_baseline": over},
    }


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [(0.02, 0.18, "above it by +2.0 to +18.0 points"), (-0.01, 0.2, "NOT ABOVE it"), (-0.3, -0.1, "BELOW it")],
)
def test_the_distance_from_the_baseline_is_said(low: float, high: float, said: str) -> None:
    (line,) = verdicts(evaluation(low, high))
    assert line.startswith("finetune: 90.0 % of 1,200 source test images are right (85.0 % to 95.0 %); baseline 80.0 %")
    assert said in line
    assert (ADVICE in line) == (low <= 0)


def test_adapted_models_are_compared_on_the_target_and_only_there() -> None:
    found = evaluation(0.1, 0.2)
    scores = {"accuracy": 0.5, "low": 0.4, "high": 0.6}
    over = {"value": 0.0, "low": -0.1, "high": 0.1, "beyond": False}
    found["rows"]["target"] = 50
    found["baseline"]["target"] = scores
    found["dann"] = {"source": scores, "target": scores, "over_baseline": over}
    lines = verdicts(found)
    assert [line.split(":")[0] for line in lines] == ["finetune", "dann"]
    assert "50 target test images" in lines[1]


def test_models_are_called_by_their_names() -> None:
    (line,) = verdicts(evaluation(0.1, 0.2), {"finetune": "Fine-tuned", "baseline": "Baseline"})
    assert line.startswith("Fine-tuned: 90.0 % of 1,200 source test images are right")


def test_results_without_a_baseline_say_nothing() -> None:
    assert verdicts({"rows": {"source": 10}, "finetune": {"source": {"accuracy": 0.5}}}) == []
