"""The first section: the model that was chosen, beside the baseline and the other candidates."""

from collections.abc import Mapping

from repflow.data.read.rows import Side
from repflow.stages.conclusion import Situation, conclusion
from repflow.stages.names import in_sentence, joined_names, names_in_words
from repflow.stages.parameters import read_raw
from repflow.stages.reporting.charts import Estimate, interval_chart
from repflow.stages.reporting.content import (
    Block,
    Figure,
    Figures,
    Headline,
    Paragraph,
    Section,
    Table,
    between,
    percent,
    points,
)
from repflow.stages.reporting.results import RunResults
from repflow.stages.reporting.style import SOURCE

_CHOSEN = "Best model"


def best_headline(run: RunResults) -> list[Headline]:
    """The accuracy of the chosen model, as the first key result; empty if none was chosen."""
    if not run.selection:
        return []
    own, name = run.selection["best"]["source"], in_sentence(_chosen(run))
    note = f"{between(own['low'], own['high'])}, n = {run.selection['rows']['source']:,}"
    return [Headline(percent(own["accuracy"]), f"source test accuracy of the best model, {name}", note)]


def best_section(run: RunResults) -> Section:
    """The chosen model and the candidates on the source, and what to try next."""
    if not run.selection:
        return Section(_CHOSEN, [])
    rows, names = run.selection["rows"], names_in_words(run.selection["candidates"])
    said = Paragraph(" ".join(concluded(run)))
    scores = [(_CHOSEN, run.selection["best"]), *((names[key], each) for key, each in _candidates(run).items())]
    title = "Accuracy on the source"
    chart = interval_chart(
        "best",
        f"{title} of the best model and of all candidates, with confidence intervals",
        title,
        [
            Estimate(name, own["source"]["accuracy"], own["source"]["low"], own["source"]["high"])
            for name, own in scores
        ],
        SOURCE,
        {"best": run.selection["best"]["source"]["accuracy"]},
    )
    caption = (
        f"The best model beside all candidates, on {rows['source']:,} test images of the source that chose nothing."
    )
    blocks: list[Block] = [said, Figures([Figure(chart, caption)]), _table(run, names)]
    return Section(_CHOSEN, blocks)


def concluded(run: RunResults) -> list[str]:
    """The result of the run in sentences, and what to try next; empty if no model was chosen."""
    hidden = run.source.labels_on(Side.UNLABELLED)
    situation = Situation(
        hidden=hidden,
        unlabelled=int((run.source.sides == Side.UNLABELLED.value).sum()) - hidden,
        encoder=read_raw("encoder.name"),
        adapts=run.has_target,
    )
    return conclusion(run.selection, names_in_words(run.selection.get("candidates", {})), situation)


def _chosen(run: RunResults) -> str:
    return joined_names(names_in_words(run.selection["candidates"]), run.selection["chosen"])


def _candidates(run: RunResults) -> Mapping[str, Mapping[str, dict[str, float]]]:
    found: Mapping[str, Mapping[str, dict[str, float]]] = run.selection["candidates"]
    return found


def _table(run: RunResults, names: Mapping[str, str]) -> Table:
    weights, over = run.selection["chosen"], run.selection["over"]["source"]
    rows = []
    for key, own in run.selection["candidates"].items():
        test, difference = own["source"], over[key]
        rows.append(
            [
                names[key],
                percent(weights[key]) if key in weights else "",
                percent(own["validation"]),
                f"{own['log_likelihood']:.3f}".replace("-", "−"),
                percent(test["accuracy"]),
                between(test["low"], test["high"]),
                points(difference["value"]),
                f"{points(difference['low'])} to {points(difference['high'])}",
            ]
        )
    header = ["candidate", "share", "validation", "log-likelihood", "test accuracy", "interval"]
    header += ["best minus it, points", "interval"]
    caption = (
        "The best model is the mean of the candidates' probabilities by their shares."
        f" {run.selection['rows']['validation']:,} labelled validation images chose it: by the log-likelihood of their"
        " labels, in nats for an image, after the probabilities were calibrated; of models that they cannot tell apart,"
        " the simpler one. The last columns are paired, on the same test images."
    )
    return Table(header, rows, caption)
