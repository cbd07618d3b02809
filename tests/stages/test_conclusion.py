"""The last lines of a run: the best model beside the baseline, the labels, and advice that fits the data."""

from typing import Any

import pytest

from repflow.stages.conclusion import Situation, conclusion

NAMES = {"baseline": "Baseline", "linear": "Linear probe", "finetune": "Fine-tuned", "dann": "DANN"}
HERE = Situation(hidden=0, unlabelled=0, encoder="small", adapts=False)


def selection(
    low: float = 0.02, high: float = 0.18, chosen: tuple[str, ...] = ("finetune", "linear")
) -> dict[str, Any]:
    """A choice whose distance from the baseline lies between `low` and `high`."""
    return {
        "chosen": dict.fromkeys(chosen, 1 / len(chosen)),
        "labels": {"training": 1000, "choosing": 90},
        "rows": {"validation": 90, "source": 1200},
        "candidates": {"baseline": {"source": {"accuracy": 0.8}}},
        "best": {"source": {"accuracy": 0.9, "low": 0.88, "high": 0.92}},
        "over": {"source": {"baseline": {"value": (low + high) / 2, "low": low, "high": high}}},
    }


def test_the_result_is_said_in_words() -> None:
    lines = conclusion(selection(), NAMES, HERE)
    assert lines[0] == (
        "Best model: Fine-tuned + linear probe (models/best). 90.0 % of 1,200 source test images are right"
        " (88.0 % to 92.0 %)."
    )
    assert "Labels used: 1,000 for training, 90 for choosing." in lines
    assert not any("_" in word for line in lines[:3] for word in line.split() if "/" not in word and "=" not in word)


@pytest.mark.parametrize(
    ("low", "high", "said"), [(0.02, 0.18, "above it by"), (-0.01, 0.1, "NOT ABOVE it"), (-0.3, -0.1, "BELOW it")]
)
def test_the_distance_from_the_baseline_is_said(low: float, high: float, said: str) -> None:
    lines = conclusion(selection(low, high), NAMES, HERE)
    assert any(line.startswith(f"Baseline: 80.0 %; the best model is {said}") for line in lines)


def test_a_baseline_that_wins_is_said_plainly() -> None:
    lines = conclusion(selection(0.0, 0.0, ("baseline",)), NAMES, HERE)
    assert "The baseline (80.0 %) itself is the best model: no trained one is better." in lines


@pytest.mark.parametrize(
    ("situation", "said", "unsaid"),
    [
        (Situation(500, 40, "small", False), "split.labels_per_class=null", "repflow suggest"),
        (Situation(0, 40, "small", False), "repflow suggest", "labels_per_class"),
        (Situation(0, 0, "small_resnet", False), "encoder=timm", "repflow suggest"),
        (Situation(0, 0, "timm", False), "more labelled images", "encoder=timm"),
    ],
)
def test_the_advice_fits_the_data(situation: Situation, said: str, unsaid: str) -> None:
    last = conclusion(selection(), NAMES, situation)[-1]
    assert said in last
    assert unsaid not in last
    assert "budget=thorough" in last


def test_there_is_no_advice_where_nothing_is_left_to_gain() -> None:
    perfect = selection()
    perfect["best"]["source"] = {"accuracy": 0.99, "low": 0.98, "high": 1.0}
    assert "More test images" in conclusion(perfect, NAMES, HERE)[-1]
    assert "try next" in conclusion(perfect, NAMES, Situation(0, 0, "small", True))[-1]


def test_the_target_is_shown_where_there_is_one() -> None:
    both = selection()
    both["rows"]["target"], both["best"]["target"] = 50, {"accuracy": 0.5, "low": 0.4, "high": 0.6}
    over = {"value": -0.1, "low": -0.2, "high": -0.05}
    both["over"]["target"] = {"baseline": {**over, "high": 0.0}, "dann": over}
    both["candidates"]["dann"] = {"target": {"accuracy": 0.6}}
    line = conclusion(both, NAMES, HERE)[1]
    assert line.startswith("On the target, which had no say in the choice: 50.0 % of 50 target test images")
    assert line.endswith("There DANN is better: 60.0 %.")
    both["over"]["target"]["dann"] = {**over, "high": 0.01}
    assert "better" not in conclusion(both, NAMES, HERE)[1]


def test_a_run_without_a_choice_says_nothing() -> None:
    assert conclusion({}, {}, HERE) == []
