"""The last sections: how good the classifiers are on images that nobody saw, and where they err."""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from repflow.stages import paths
from repflow.stages.parameters import read_raw
from repflow.stages.reporting.charts import Estimate, calibration_chart, confusion_chart, interval_chart
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
from repflow.stages.reporting.facts import Facts, metrics
from repflow.stages.reporting.style import SOURCE, TARGET

_SHOWN_CLASSES = 20


def headlines(facts: Facts) -> list[Headline]:
    """The few numbers that tell how the run went."""
    rows, own = facts.evaluation["rows"], facts.scores("finetune", "source")
    note = f"{between(own['low'], own['high'])}, n = {rows['source']:,}"
    found = [Headline(percent(own["accuracy"]), "source test accuracy, fine-tuned", note)]
    probe = metrics("probe")
    if probe:
        gain = probe["gain"]
        note = f"{points(gain['linear_low'])} to {points(gain['linear_high'])}, n = {probe['rows']['test']:,}"
        found.append(Headline(points(gain["linear"]), "points, linear probe against random weights", note))
    key = best_adapted(facts)
    if key is not None:
        own, name = facts.scores(key, "target"), facts.adapt[key].inside
        note = f"{between(own['low'], own['high'])}, n = {rows['target']:,}"
        found.append(Headline(percent(own["accuracy"]), f"target test accuracy, {name}", note))
        share = facts.evaluation[key].get("gap_closed")
        if share:
            value = f"{100 * share['value']:.0f} %".replace("-", "−")
            found.append(Headline(value, f"of the domain gap closed, {name}", between(share["low"], share["high"])))
    return found


def best_adapted(facts: Facts) -> str | None:
    """The adaptation that is best on the target's test, of those that saw no label of it; None where there is none.

    For the headline alone: nothing is chosen by it.
    """
    tested = [key for key in facts.adapted if facts.scores(key, "target")]
    return max(tested, key=lambda key: facts.scores(key, "target")["accuracy"], default=None)


def test_section(facts: Facts) -> Section:
    """Accuracies of all models on both domains."""
    rows, config = facts.evaluation["rows"], read_raw("evaluate")
    level = f"{100 * config['confidence']:g} %"
    text = (
        f"No test image was seen by any training, search or choice before. Intervals hold {level} of the accuracies"
        f" that come out when the test images are drawn anew {config['resamples']:,} times; they tell how far the"
        " number of test images bounds what can be said, and nothing of other seeds."
    )
    figures = []
    for domain, number in rows.items():
        title, marks = f"Accuracy on the {domain}", _marks(facts, domain)
        colour = SOURCE if domain == "source" else TARGET
        alt = f"{title}, {level} intervals"
        chart = interval_chart(f"accuracy.{domain}", alt, title, _estimates(facts, domain), colour, marks)
        figures.append(Figure(chart, _about_accuracy(facts, domain, number)))
    return Section("On images never seen", [Paragraph(text), Figures(figures), _score_table(facts)])


def _estimates(facts: Facts, domain: str) -> list[Estimate]:
    published = facts.config.published.accuracy if facts.config.published and domain == "target" else {}
    return [
        Estimate(card.name, own["accuracy"], own["low"], own["high"], published.get(key))
        for key, card in facts.models.items()
        if (own := facts.scores(key, domain))
    ]


def _marks(facts: Facts, domain: str) -> dict[str, float]:
    """Where the floor and the ceiling of the adaptation stand on the target."""
    keys = (facts.floor, facts.ceiling) if domain == "target" else ()
    return {key: facts.scores(key, domain)["accuracy"] for key in keys if key}


def _about_accuracy(facts: Facts, domain: str, number: int) -> str:
    text = f"Share of {number:,} {domain} test images that each model gets right, with its interval."
    if len(_marks(facts, domain)) == 2:
        text += " The shaded band is the domain gap: from the model that saw no target to the one that saw its labels."
    if domain == "target" and facts.config.published:
        text += f" Diamonds: published, {facts.config.published.source}. {facts.config.published.differences}"
    return text


def _score_table(facts: Facts) -> Table:
    domains = list(facts.evaluation["rows"])
    header = ["model"]
    for domain in domains:
        header += [f"{domain} accuracy", "interval", "F1", "ECE"]
    published = facts.config.published
    rows = []
    for key, card in facts.models.items():
        cells = [card.name]
        for domain in domains:
            own = facts.scores(key, domain)
            ends = between(own["low"], own["high"])
            cells += [percent(own["accuracy"]), ends, f"{own['f1']:.3f}", f"{own['ece']:.3f}"]
        if published:
            cells.append(percent(published.accuracy[key]) if key in published.accuracy else "")
        rows.append(cells)
    if published:
        header.append("published")
    caption = (
        "F1 is the mean over the classes. ECE, the expected calibration error, is how far confidence and accuracy lie"
        " apart on average (0 is best)."
    )
    if published:
        caption += f" Published: {published.source}. {published.differences}"
    return Table(header, rows, caption)


def errors_section(facts: Facts) -> Section:
    """Confusion matrices, recalls and calibration."""
    shown = list(shown_models(facts))
    confusions, calibrations = [], []
    calibration = pd.read_csv(paths.PLOTS / "calibration.csv")
    for key, domain in shown:
        title = f"{facts.models[key].name}, {domain}"
        counts = confusion_counts(facts, key, domain)
        chart = confusion_chart(
            f"confusion.{key}.{domain}", f"Confusion matrix: {title}", title, counts, facts.source.classes
        )
        right, total = int(np.trace(counts)), int(counts.sum())
        confusions.append(
            Figure(chart, f"{total - right:,} of {total:,} wrong{_worst_pair(counts, facts.source.classes)}.")
        )
        own = calibration[(calibration["model"] == key) & (calibration["domain"] == domain)]
        columns = [own[name].to_numpy() for name in ("confidence", "accuracy", "rows")]
        chart = calibration_chart(f"calibration.{key}.{domain}", f"Calibration: {title}", title, *columns)
        calibrations.append(Figure(chart, f"Expected calibration error {facts.scores(key, domain)['ece']:.3f}."))
    blocks: list[Block] = [
        Paragraph(
            "Lines are what an image shows, columns what it was taken for. Blue is right, orange is wrong; look for"
            " orange fields that stand out."
        ),
        Figures(confusions),
        *(_recall_table(facts, domain) for domain in facts.evaluation["rows"]),
        Paragraph(
            "A model that is as sure as it is right has its dots on the dashed line; below it the model is too sure."
            " The larger a dot, the more images it stands for."
        ),
        Figures(calibrations),
    ]
    return Section("Where they err", blocks)


def shown_models(facts: Facts) -> Iterator[tuple[str, str]]:
    """The models and domains that get pictures of their own: each model on the domain that it was made for."""
    for key in facts.models:
        domain = "source" if key == "finetune" else "target"
        if facts.scores(key, domain):
            yield key, domain


def confusion_counts(facts: Facts, model: str, domain: str) -> np.ndarray:
    """How often each class (line) was seen as each class (column): int64 [K, K]."""
    pairs = pd.read_csv(paths.PLOTS / "confusion" / f"{model}.{domain}.csv", dtype=str, keep_default_na=False)
    classes = facts.source.classes
    position = {name: number for number, name in enumerate(classes)}
    counts = np.zeros((len(classes), len(classes)), np.int64)
    np.add.at(counts, (pairs["actual"].map(position), pairs["predicted"].map(position)), 1)
    return counts


def _worst_pair(counts: np.ndarray, classes: Sequence[str]) -> str:
    wrong = counts - np.diag(np.diag(counts))
    if wrong.max() < 2:
        return ""
    actual, seen = (int(place) for place in np.unravel_index(int(wrong.argmax()), wrong.shape))
    return f"; most often {classes[actual]} was taken for {classes[seen]} ({wrong[actual, seen]:,} times)"


def _recall_table(facts: Facts, domain: str) -> Table:
    """The recall of every class by every model, the hardest classes first where there are many."""
    recall = pd.read_csv(paths.PLOTS / "recall.csv", dtype={"class": str}, keep_default_na=False)
    recall = recall[recall["domain"] == domain]
    wide = recall.pivot(index="class", columns="model", values="recall")
    wide = wide.loc[[name for name in facts.source.classes if name in wide.index], list(facts.models)]
    number = recall.drop_duplicates("class").set_index("class")["rows"]
    caption = f"Recall: the share of each class's {domain} test images that is recognised. Darker is missed more often."
    if len(wide) > _SHOWN_CLASSES:
        wide = wide.loc[wide.mean(axis=1).sort_values(kind="stable").index[:_SHOWN_CLASSES]]
        caption += f" The {_SHOWN_CLASSES} hardest classes."
    header = [f"{domain} class", "images", *(card.name for card in facts.models.values())]
    rows = [
        [name, f"{number[name]:,}", *(percent(each) for each in line)]
        for name, line in zip(wide.index, wide.to_numpy(), strict=True)
    ]
    shade = [[None, None, *(min(1.0, 1.5 * (1 - each)) for each in line)] for line in wide.to_numpy()]
    return Table(header, rows, caption, shade)
