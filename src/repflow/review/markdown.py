"""A comparison as Markdown that GitHub and GitLab show in a comment: tables, and charts that their pages draw.

A comment cannot hold pictures, so curves are Mermaid charts and confusions tables; pictures take their place where the
page lies beside some.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from repflow.review.comparison import Comparison, MetricChange
from repflow.review.estimates import Estimate
from repflow.review.plots import Beside, beside, moved_cells
from repflow.review.snapshot import Snapshot
from repflow.review.stages import StageChange
from repflow.review.verdicts import Verdict

_JUDGED = (Verdict.WORSE, Verdict.BETTER, Verdict.NOISE)
_BASE_COLOUR, _HEAD_COLOUR = "#9aa1ad", "#0072b2"


def render(comparison: Comparison, pictures: Mapping[str, Sequence[str]] | None = None) -> str:
    """The whole page.

    Args:
        comparison: what to show.
        pictures: path of a plot to the pictures of it, relative to the page.
    """
    title = f"## {_names(comparison.base)} → {_names(comparison.head)}"
    parts = [title, _summary(comparison), *(f"> **Note.** {note}" for note in comparison.notes)]
    parts += [*_metrics(comparison), *_stages(comparison.stages), *_parameters(comparison.parameters)]
    if len(comparison.base) == 1:
        parts += _plots(comparison.base[0], comparison.head[0], pictures)
    return "\n\n".join(parts) + "\n"


def _names(side: Sequence[Snapshot]) -> str:
    return ", ".join(str(each.revision) for each in side)


def _summary(comparison: Comparison) -> str:
    if not comparison.metrics:
        return "No metric changed."
    counts = [f"{len(comparison.verdicts(kind))} {kind.value}" for kind in _JUDGED]
    rest = len(comparison.metrics) - sum(len(comparison.verdicts(kind)) for kind in _JUDGED)
    return f"**{', '.join(counts)}**; {rest} more changed without a verdict."


def _metrics(comparison: Comparison) -> Iterator[str]:
    judged = [each for each in comparison.metrics if each.verdict in _JUDGED]
    others = [each for each in comparison.metrics if each.verdict not in _JUDGED]
    if judged:
        yield "### Metrics with a verdict"
        header = ("metric", "base", "head", "change", "95 % interval", "rests on", "verdict")
        yield table(header, map(_judged_row, judged), "lrrrrll")
    if others:
        content = table(("metric", "base", "head", "change"), map(_other_row, others), "lrrr")
        yield folded(f"{len(others)} metrics without a verdict", content)


def _judged_row(each: MetricChange) -> tuple[str, ...]:
    assert each.change is not None
    change, (low, high) = each.change.value, (each.change.low, each.change.high)
    said = each.verdict.value if each.verdict is Verdict.NOISE else f"**{each.verdict.value}**"
    ends = f"{signed(low)} to {signed(high)}"
    return (_metric_name(each), _estimate(each.base), _estimate(each.head), signed(change), ends, each.basis, said)


def _other_row(each: MetricChange) -> tuple[str, ...]:
    before, after = (side.number if side else None for side in (each.base, each.head))
    change = signed(after - before) if before is not None and after is not None else each.verdict.value
    return (_metric_name(each), _estimate(each.base), _estimate(each.head), change)


def _metric_name(each: MetricChange) -> str:
    return f"`{each.file.removeprefix('metrics/').rsplit('.', 1)[0]}` {_text(each.name)}"


def _estimate(estimate: Estimate | None) -> str:
    if estimate is None:
        return ""
    value = _number(estimate.number) if estimate.number is not None else _value(estimate.value)
    if estimate.low is None or estimate.high is None:
        return value
    return f"{value} ({_number(estimate.low)} to {_number(estimate.high)})"


def _number(value: float) -> str:
    return f"{value:.0f}" if value == round(value) and abs(value) >= 2 else f"{value:.4g}"


def signed(value: float) -> str:
    """A change with its sign, as "+.03" or "−12"."""
    return f"{value:+.3g}".replace("-", "−") if value else "0"


def _stages(stages: Sequence[StageChange]) -> Iterator[str]:
    if stages:
        yield "### Stages that changed"
        yield table(("stage", "why", "outputs"), map(_stage_row, stages), "lll")


def _stage_row(each: StageChange) -> tuple[str, ...]:
    if each.state != "changed":
        return (f"`{each.name}`", each.state, "")
    why = [
        *(["another command"] if each.command else []),
        *([f"parameters {_few(each.parameters)}"] if each.parameters else []),
        *([f"files {_few(each.files)}"] if each.files else []),
        *([f"after {_few(each.upstream)}"] if each.upstream else []),
    ]
    reasons = (
        "**nothing that dvc.lock knows of**" if each.unexplained else "; ".join(why) or "no longer the same outputs"
    )
    return (f"`{each.name}`", reasons, _few(each.outputs, 3) if each.outputs else "the same")


def _few(names: Sequence[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(f"`{name}`" for name in names[:most]) + more


def _parameters(parameters: Mapping[str, tuple[Any, Any]]) -> Iterator[str]:
    if parameters:
        yield "### Parameters that changed"
        rows = ((f"`{name}`", _value(old), _value(new)) for name, (old, new) in parameters.items())
        yield table(("parameter", "base", "head"), rows, "lll")


def _value(value: Any) -> str:
    return "" if value is None else f"`{_text(json.dumps(value, ensure_ascii=False, default=str))}`"


def _plots(base: Snapshot, head: Snapshot, pictures: Mapping[str, Sequence[str]] | None) -> Iterator[str]:
    for plot in beside(base, head):
        shown = _pictures(pictures[plot.path]) if pictures and plot.path in pictures else _drawn(plot)
        if shown:
            yield folded(f"<code>{plot.path}</code>", shown)


def _pictures(files: Sequence[str]) -> str:
    if len(files) == 1:
        return f"![base and head]({files[0]})"
    return table(("base", "head"), [tuple(f"![]({file})" for file in files)], "ll")


def _drawn(plot: Beside) -> str:
    if plot.curves:
        return _chart(plot)
    cells = [
        (_text(actual), _text(predicted), str(before), str(after), signed(after - before))
        for actual, predicted, before, after in moved_cells(plot)
    ]
    return table(("actual", "predicted", "base", "head", "change"), cells, "llrrr") if cells else ""


def _chart(plot: Beside) -> str:
    """A Mermaid chart. It knows no legend, so the colours are named above it, and no gaps, so both end together."""
    assert plot.curves is not None
    steps, (before, after) = plot.curves.common()
    if len(steps) < 2 or not (np.isfinite(before).all() and np.isfinite(after).all()):
        return "The two share too few points to be drawn."
    low, high = min(before.min(), after.min()), max(before.max(), after.max())
    lines = [
        "```mermaid",
        f'%%{{init: {{"themeVariables": {{"xyChart": {{"plotColorPalette": "{_BASE_COLOUR}, {_HEAD_COLOUR}"}}}}}}}}%%',
        "xychart-beta",
        f'    x-axis "{plot.curves.x}" {steps[0]:g} --> {steps[-1]:g}',
        f'    y-axis "{plot.curves.y}" {low:.4g} --> {max(high, low + 1e-6):.4g}',
        *(f"    line [{', '.join(f'{value:.4g}' for value in line)}]" for line in (before, after)),
        "```",
    ]
    return f"`{plot.curves.y}` over `{plot.curves.x}`: base grey, head blue.\n\n" + "\n".join(lines)


def table(header: Sequence[str], rows: Iterable[Sequence[str]], sides: str) -> str:
    """A Markdown table; `sides` has one letter a column, "l" or "r"."""
    rules = {"l": "---", "r": "---:"}
    lines = [header, [rules[side] for side in sides], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def folded(title: str, content: str) -> str:
    """Content that opens with a click."""
    return f"<details><summary>{title}</summary>\n\n{content}\n\n</details>"


def _text(text: str) -> str:
    """A name that comes from the data, so that it cannot break a table or a page."""
    kept = text if len(text) <= 120 else f"{text[:119]}…"
    return kept.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("`", "'").replace("\n", " ")
