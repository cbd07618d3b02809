"""What the test results say, in words: each trained model beside the baseline."""

from collections.abc import Mapping
from typing import Any

ADVICE = (
    "models/baseline is the better choice; or try more labels (split.labels_per_class=null takes all), more steps"
    " (pretrain.training.steps, finetune.training.steps), or views that suit the images, as augment=natural does"
    " photographs"
)


def verdicts(evaluation: Mapping[str, Any], names: Mapping[str, str] | None = None) -> list[str]:
    """One line per trained model: its accuracy on the domain that it is for, and whether it is above the baseline.

    Args:
        evaluation: the content of `metrics/evaluate.json`.
        names: key of a model to its name in words; without one it is called by its key.
    """
    names = names or {}
    return [
        _line(evaluation, key, names.get(key, key)) for key, scores in evaluation.items() if "over_baseline" in scores
    ]


def home(name: str) -> str:
    """The domain that a model is for: the source for the fine-tuned one, the target for adapted ones."""
    return "source" if name == "finetune" else "target"


def _line(evaluation: Mapping[str, Any], key: str, name: str) -> str:
    domain = home(key)
    own, baseline = evaluation[key][domain], evaluation["baseline"][domain]
    over = evaluation[key]["over_baseline"]
    found = (
        f"{name}: {_percent(own['accuracy'])} of {evaluation['rows'][domain]:,} {domain} test images are right"
        f" ({_percent(own['low'])} to {_percent(own['high'])}); baseline {_percent(baseline['accuracy'])}"
    )
    interval = f"{100 * over['low']:+.1f} to {100 * over['high']:+.1f} points"
    if over["beyond"]:
        return f"{found}: above it by {interval}"
    below = over["high"] < 0
    return f"{found}: {'BELOW' if below else 'NOT ABOVE'} it ({interval}); {ADVICE}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
