"""A comparison as Markdown for comments on GitHub and GitLab: tables and Mermaid charts.

A comment cannot contain image files, so curves are Mermaid charts and confusion matrices are tables; on a page with
figures, the figures take their place.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from repflow.review.baseline import Standing, in_words, standings
from repflow.review.comparison import Comparison, MetricChange
from repflow.review.estimates import Estimate
from repflow.review.plots import PlotPair, changed_cells, changed_plots
from repflow.review.significance import Assessment
from repflow.review.snapshot import Snapshot
from repflow.review.stages import StageChange

_ASSESSED = (Assessment.WORSE, Assessment.BETTER, Assessment.NOISE)
_BASE_COLOUR, _HEAD_COLOUR = "#9aa1ad", "#0072b2"


def render(comparison: Comparison, figures: Mapping[str, Sequence[str]] | None = None) -> str:
    """The complete page.

    Args:
        comparison: the comparison.
        figures: path of a plot to the files of its figures, relative to the page.
    """
    title = f"## {_names(comparison.base)} → {_names(comparison.head)}"
    parts = [title, _summary(comparison), *(f"> **Note.** {note}" for note in comparison.notes)]
    parts += [
        *_baseline(comparison),
        *_metrics(comparison),
        *_stages(comparison.stages),
        *_parameters(comparison.parameters),
    ]
    if len(comparison.base) == 1:
        parts += _plots(comparison.base[0], comparison.head[0], figures)
    return "\n\n".join(parts) + "\n"


def _names(side: Sequence[Snapshot]) -> str:
    return ", ".join(str(each.revision) for each in side)


def _summary(comparison: Comparison) -> str:
    if not comparison.metrics:
        return "No metric changed."
    counts = [f"{len(comparison.assessed(kind))} {kind.value}" for kind in _ASSESSED]
    rest = len(comparison.metrics) - sum(len(comparison.assessed(kind)) for kind in _ASSESSED)
    return f"**{', '.join(counts)}**; {rest} more changed, without a confidence interval."


def _baseline(comparison: Comparison) -> Iterator[str]:
    lines = standings(comparison.base, comparison.head)
    if lines:
        yield "### Beside the baseline"
        yield table(("model", "base", "head"), map(_baseline_row, lines), "lll")


def _baseline_row(line: Standing) -> tuple[str, ...]:
    if line.is_difference:
        return (f"`{_text(line.what)}` over it", *(_over(side) for side in (line.base, line.head)))
    return (_text(line.what), _estimate(line.base), _estimate(line.head))


def _over(side: Estimate | None) -> str:
    if side is None or side.number is None:
        return ""
    interval = "" if side.low is None or side.high is None else f" ({signed(side.low)} to {signed(side.high)})"
    return f"{signed(side.number)}{interval}, {in_words(side)}"


def _metrics(comparison: Comparison) -> Iterator[str]:
    assessed = [each for each in comparison.metrics if each.assessment in _ASSESSED]
    others = [each for each in comparison.metrics if each.assessment not in _ASSESSED]
    if assessed:
        yield "### Metrics with a confidence interval of the change"
        header = ("metric", "base", "head", "change", "95 % interval", "basis", "assessment")
        yield table(header, map(_assessed_row, assessed), "lrrrrll")
    if others:
        content = table(("metric", "base", "head", "change"), map(_other_row, others), "lrrr")
        yield collapsible(f"{len(others)} metrics without a confidence interval of the change", content)


def _assessed_row(each: MetricChange) -> tuple[str, ...]:
    assert each.change is not None
    change, (low, high) = each.change.value, (each.change.low, each.change.high)
    result = each.assessment.value if each.assessment is Assessment.NOISE else f"**{each.assessment.value}**"
    ends = f"{signed(low)} to {signed(high)}"
    return (_metric_name(each), _estimate(each.base), _estimate(each.head), signed(change), ends, each.basis, result)


def _other_row(each: MetricChange) -> tuple[str, ...]:
    before, after = (side.number if side else None for side in (each.base, each.head))
    change = signed(after - before) if before is not None and after is not None else each.assessment.value
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
    """A change with its sign, as "+0.03" or "−12"."""
    return f"{value:+.3g}".replace("-", "−") if value else "0"


def _stages(stages: Sequence[StageChange]) -> Iterator[str]:
    if stages:
        yield "### Changed stages"
        yield table(("stage", "reason", "changed outputs"), map(_stage_row, stages), "lll")


def _stage_row(each: StageChange) -> tuple[str, ...]:
    if each.state != "changed":
        return (f"`{each.name}`", each.state, "")
    why = [
        *(["another command"] if each.command else []),
        *([f"parameters {_few(each.parameters)}"] if each.parameters else []),
        *([f"code {_few([name.removeprefix('repflow.') for name in each.modules])}"] if each.modules else []),
        *([f"files {_few(each.files)}"] if each.files else []),
        *([f"after {_few(each.upstream)}"] if each.upstream else []),
    ]
    reasons = "**no reason recorded in dvc.lock**" if each.unexplained else "; ".join(why) or "other list of outputs"
    return (f"`{each.name}`", reasons, _few(each.outputs, 3) if each.outputs else "none")


def _few(names: Sequence[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(f"`{name}`" for name in names[:most]) + more


def _parameters(parameters: Mapping[str, tuple[Any, Any]]) -> Iterator[str]:
    if parameters:
        yield "### Changed parameters"
        rows = ((f"`{name}`", _value(old), _value(new)) for name, (old, new) in parameters.items())
        yield table(("parameter", "base", "head"), rows, "lll")


def _value(value: Any) -> str:
    return "" if value is None else f"`{_text(json.dumps(value, ensure_ascii=False, default=str))}`"


def _plots(base: Snapshot, head: Snapshot, figures: Mapping[str, Sequence[str]] | None) -> Iterator[str]:
    for plot in changed_plots(base, head):
        shown = _figures(figures[plot.path]) if figures and plot.path in figures else _chart_or_table(plot)
        if shown:
            yield collapsible(f"<code>{plot.path}</code>", shown)


def _figures(files: Sequence[str]) -> str:
    if len(files) == 1:
        return f"![base and head]({files[0]})"
    return table(("base", "head"), [tuple(f"![]({file})" for file in files)], "ll")


def _chart_or_table(plot: PlotPair) -> str:
    if plot.curves:
        return _chart(plot)
    cells = [
        (_text(actual), _text(predicted), str(before), str(after), signed(after - before))
        for actual, predicted, before, after in changed_cells(plot)
    ]
    return table(("actual", "predicted", "base", "head", "change"), cells, "llrrr") if cells else ""


def _chart(plot: PlotPair) -> str:
    """A Mermaid chart. It has no legend, so the text above names the colours, and no gaps, so lines end together."""
    assert plot.curves is not None
    steps, (before, after) = plot.curves.common()
    if len(steps) < 2 or not (np.isfinite(before).all() and np.isfinite(after).all()):
        return "Base and head have too few steps in common for a chart."
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
    """A Markdown table; `sides` has the alignment of each column, "l" or "r"."""
    rules = {"l": "---", "r": "---:"}
    lines = [header, [rules[side] for side in sides], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def collapsible(title: str, content: str) -> str:
    """Content that is shown after a click on its title."""
    return f"<details><summary>{title}</summary>\n\n{content}\n\n</details>"


def _text(text: str) -> str:
    """A name from the data, shortened and escaped for Markdown."""
    kept = text if len(text) <= 120 else f"{text[:119]}…"
    return kept.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("`", "'").replace("\n", " ")
