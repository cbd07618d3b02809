"""The end of a run in words: the chosen model beside the baseline, what it took, and what to try next."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from repflow.stages.names import joined_names

_PERFECT = 0.995
"""Accuracies whose interval reaches beyond this leave nothing to gain that the test images could show."""


@dataclass(frozen=True)
class Situation:
    """What the advice depends on.

    Attributes:
        hidden: labels of training images that the budget `split.labels_per_class` leaves out.
        unlabelled: training images without a label.
        encoder: name of the encoder, as "small".
        adapts: whether there is a target domain.
    """

    hidden: int
    unlabelled: int
    encoder: str
    adapts: bool


def conclusion(selection: Mapping[str, Any], names: Mapping[str, str], situation: Situation) -> list[str]:
    """The result and the advice, a sentence each; empty without a result.

    Args:
        selection: the content of `metrics/select.json`.
        names: key to name in words of every candidate.
        situation: what the advice depends on.
    """
    if not selection:
        return []
    labels = selection["labels"]
    return [
        _result(selection, names, "source"),
        *([_result(selection, names, "target")] if "target" in selection["best"] else []),
        beside_baseline(selection),
        f"Labels used: {labels['training']:,} for training, {labels['choosing']:,} for choosing.",
        *_advice(selection, situation),
    ]


def _result(selection: Mapping[str, Any], names: Mapping[str, str], domain: str) -> str:
    own = selection["best"][domain]
    found = (
        f"{_percent(own['accuracy'])} of {selection['rows'][domain]:,} {domain} test images are right"
        f" ({_percent(own['low'])} to {_percent(own['high'])})"
    )
    if domain == "target":
        return f"On the target, which had no say in the choice: {found}.{_better_on_target(selection, names)}"
    return f"Best model: {joined_names(names, selection['chosen'])} (models/best). {found}."


def _better_on_target(selection: Mapping[str, Any], names: Mapping[str, str]) -> str:
    """The most accurate of the candidates that are better than the chosen model on the target beyond the interval."""
    better = [key for key, over in selection["over"]["target"].items() if over["high"] < 0]
    if not better:
        return ""
    scores = {key: selection["candidates"][key]["target"]["accuracy"] for key in better}
    key = max(scores, key=lambda each: scores[each])
    return f" There {names[key]} is better: {_percent(scores[key])}."


def beside_baseline(selection: Mapping[str, Any]) -> str:
    """The chosen model beside the baseline on the source, in one sentence."""
    baseline = selection["candidates"]["baseline"]["source"]["accuracy"]
    if list(selection["chosen"]) == ["baseline"]:
        return f"The baseline ({_percent(baseline)}) itself is the best model: no trained one is better."
    over = selection["over"]["source"]["baseline"]
    interval = f"{100 * over['low']:+.1f} to {100 * over['high']:+.1f} points"
    place = "above it by" if over["low"] > 0 else "BELOW it:" if over["high"] < 0 else "NOT ABOVE it beyond chance:"
    return f"Baseline: {_percent(baseline)}; the best model is {place} {interval}."


def _advice(selection: Mapping[str, Any], situation: Situation) -> list[str]:
    if selection["best"]["source"]["high"] >= _PERFECT and not situation.adapts:
        return ["More test images are needed to see anything better: the interval reaches 100 %."]
    steps = []
    if situation.hidden:
        steps.append(
            f"the {situation.hidden:,} labels that the budget leaves out (repflow compose split.labels_per_class=null)"
        )
    elif situation.unlabelled:
        steps.append("more labels (repflow suggest names the images that are worth most)")
    else:
        steps.append("more labelled images, and images without labels")
    steps.append("more steps (repflow compose budget=thorough)")
    if situation.encoder in ("small", "small_resnet", "lenet"):
        steps.append("an encoder that others pretrained (repflow compose encoder=timm)")
    return [f"What to try next: {'; '.join(steps)}."]


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
