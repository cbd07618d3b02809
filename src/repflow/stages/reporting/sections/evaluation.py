"""The sections on the test results: accuracy, confusion matrices, recall and calibration."""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from repflow.stages import paths
from repflow.stages.names import names_in_words
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
from repflow.stages.reporting.results import RunResults, metrics
from repflow.stages.reporting.style import SOURCE, TARGET
from repflow.stages.verdict import verdicts

_SHOWN_CLASSES = 20


def headlines(run: RunResults) -> list[Headline]:
    """The key results of the run."""
    rows, own = run.evaluation["rows"], run.scores("finetune", "source")
    note = f"{between(own['low'], own['high'])}, n = {rows['source']:,}"
    found = [Headline(percent(own["accuracy"]), "source test accuracy, fine-tuned", note)]
    probe = metrics("probe")
    if probe:
        gain = probe["gain"]
        note = f"{points(gain['linear_low'])} to {points(gain['linear_high'])}, n = {probe['rows']['test']:,}"
        found.append(Headline(points(gain["linear"]), "points, linear probe over random weights", note))
    key = best_adapted(run)
    if key is not None:
        own, name = run.scores(key, "target"), run.adapt[key].name_in_sentence
        note = f"{between(own['low'], own['high'])}, n = {rows['target']:,}"
        found.append(Headline(percent(own["accuracy"]), f"target test accuracy, {name}", note))
        share = run.evaluation[key].get("gap_closed")
        if share:
            value = f"{100 * share['value']:.0f} %".replace("-", "−")
            found.append(Headline(value, f"of the domain gap closed, {name}", between(share["low"], share["high"])))
    return found


def best_adapted(run: RunResults) -> str | None:
    """The adaptation method with the best target test accuracy, without target labels; None if there is none.

    Used only for the key results: no model is selected by it.
    """
    tested = [key for key in run.adapted if run.scores(key, "target")]
    return max(tested, key=lambda key: run.scores(key, "target")["accuracy"], default=None)


def test_section(run: RunResults) -> Section:
    """Test accuracies of all models on both domains."""
    rows, config = run.evaluation["rows"], read_raw("evaluate")
    level = f"{100 * config['confidence']:g} %"
    text = (
        "Test images were not used for training, hyperparameter search or model selection. Intervals are"
        f" {level} percentile bootstrap intervals over the test images ({config['resamples']:,} resamples). They"
        " measure the uncertainty from the number of test images, not the variation between random seeds."
    )
    figures = []
    for domain, number in rows.items():
        title, marks = f"Accuracy on the {domain}", _marks(run, domain)
        colour = SOURCE if domain == "source" else TARGET
        alt = f"{title}, {level} confidence intervals"
        chart = interval_chart(f"accuracy.{domain}", alt, title, _estimates(run, domain), colour, marks)
        figures.append(Figure(chart, _accuracy_caption(run, domain, number)))
    names = names_in_words(_names(run))
    said = [Paragraph(f"{line[0].upper()}{line[1:]}.") for line in verdicts(run.evaluation, names)]
    return Section("Test results", [*said, Paragraph(text), Figures(figures), _score_table(run)])


def _estimates(run: RunResults, domain: str) -> list[Estimate]:
    published = run.config.published.accuracy if run.config.published and domain == "target" else {}
    return [
        Estimate(name, own["accuracy"], own["low"], own["high"], published.get(key))
        for key, name in _names(run).items()
        if (own := run.scores(key, domain))
    ]


def _names(run: RunResults) -> dict[str, str]:
    """Key to name of all tested models, the baseline first."""
    return {"baseline": "Baseline", **{key: card.name for key, card in run.models.items()}}


def _marks(run: RunResults, domain: str) -> dict[str, float]:
    """The target accuracies of the lower and the upper baseline of the adaptation."""
    keys = (run.floor, run.ceiling) if domain == "target" else ()
    return {key: run.scores(key, domain)["accuracy"] for key in keys if key}


def _accuracy_caption(run: RunResults, domain: str, number: int) -> str:
    text = f"Accuracy of each model on {number:,} {domain} test images, with its confidence interval."
    if len(_marks(run, domain)) == 2:
        text += " The shaded band is the domain gap, from training on the source only to training on target labels."
    if domain == "target" and run.config.published:
        text += f" Diamonds: published results, {run.config.published.source}. {run.config.published.differences}"
    return text


def _score_table(run: RunResults) -> Table:
    domains = list(run.evaluation["rows"])
    header = ["model"]
    for domain in domains:
        header += [f"{domain} accuracy", "interval", "F1", "ECE"]
    published = run.config.published
    rows = []
    for key, name in _names(run).items():
        cells = [name]
        for domain in domains:
            own = run.scores(key, domain)
            ends = between(own["low"], own["high"])
            cells += [percent(own["accuracy"]), ends, f"{own['f1']:.3f}", f"{own['ece']:.3f}"]
        if published:
            cells.append(percent(published.accuracy[key]) if key in published.accuracy else "")
        rows.append(cells)
    if published:
        header.append("published")
    caption = (
        "F1 is the macro average over the classes. ECE is the expected calibration error, the mean difference between"
        " confidence and accuracy (0 is best)."
    )
    if published:
        caption += f" Published results: {published.source}. {published.differences}"
    return Table(header, rows, caption)


def errors_section(run: RunResults) -> Section:
    """Confusion matrices, recalls and calibration."""
    shown = list(shown_models(run))
    confusions, calibrations = [], []
    calibration = pd.read_csv(paths.PLOTS / "calibration.csv")
    for key, domain in shown:
        title = f"{run.models[key].name}, {domain}"
        counts = confusion_counts(run, key, domain)
        chart = confusion_chart(
            f"confusion.{key}.{domain}", f"Confusion matrix: {title}", title, counts, run.source.classes
        )
        right, total = int(np.trace(counts)), int(counts.sum())
        confusions.append(
            Figure(chart, f"{total - right:,} of {total:,} wrong{_worst_pair(counts, run.source.classes)}.")
        )
        own = calibration[(calibration["model"] == key) & (calibration["domain"] == domain)]
        columns = [own[name].to_numpy() for name in ("confidence", "accuracy", "rows")]
        chart = calibration_chart(f"calibration.{key}.{domain}", f"Calibration: {title}", title, *columns)
        calibrations.append(Figure(chart, f"Expected calibration error {run.scores(key, domain)['ece']:.3f}."))
    blocks: list[Block] = [
        Paragraph(
            "Confusion matrices: rows are the actual class, columns the predicted class. Correct predictions are blue,"
            " errors orange."
        ),
        Figures(confusions),
        *(_recall_table(run, domain) for domain in run.evaluation["rows"]),
        Paragraph(
            "Reliability diagrams: the dots of a calibrated model are on the dashed line; below it, the model is"
            " overconfident. The area of a dot is its number of images."
        ),
        Figures(calibrations),
    ]
    return Section("Errors and calibration", blocks)


def shown_models(run: RunResults) -> Iterator[tuple[str, str]]:
    """The models and domains with figures of their own: each model on the domain that it was trained for."""
    for key in run.models:
        domain = "source" if key == "finetune" else "target"
        if run.scores(key, domain):
            yield key, domain


def confusion_counts(run: RunResults, model: str, domain: str) -> np.ndarray:
    """Confusion matrix, rows are actual classes, columns predicted classes: int64 [K, K]."""
    pairs = pd.read_csv(paths.PLOTS / "confusion" / f"{model}.{domain}.csv", dtype=str, keep_default_na=False)
    classes = run.source.classes
    position = {name: number for number, name in enumerate(classes)}
    counts = np.zeros((len(classes), len(classes)), np.int64)
    np.add.at(counts, (pairs["actual"].map(position), pairs["predicted"].map(position)), 1)
    return counts


def _worst_pair(counts: np.ndarray, classes: Sequence[str]) -> str:
    wrong = counts - np.diag(np.diag(counts))
    if wrong.max() < 2:
        return ""
    actual, seen = (int(place) for place in np.unravel_index(int(wrong.argmax()), wrong.shape))
    return f"; most frequent error: {classes[actual]} predicted as {classes[seen]} ({wrong[actual, seen]:,} times)"


def _recall_table(run: RunResults, domain: str) -> Table:
    """The recall of every class by every model; if there are many classes, those with the lowest recall."""
    recall = pd.read_csv(paths.PLOTS / "recall.csv", dtype={"class": str}, keep_default_na=False)
    recall = recall[recall["domain"] == domain]
    wide = recall.pivot(index="class", columns="model", values="recall")
    wide = wide.loc[[name for name in run.source.classes if name in wide.index], list(run.models)]
    number = recall.drop_duplicates("class").set_index("class")["rows"]
    caption = f"Recall: the share of each class's {domain} test images that is predicted correctly. Darker is lower."
    if len(wide) > _SHOWN_CLASSES:
        wide = wide.loc[wide.mean(axis=1).sort_values(kind="stable").index[:_SHOWN_CLASSES]]
        caption += f" Only the {_SHOWN_CLASSES} classes with the lowest mean recall are shown."
    header = [f"{domain} class", "images", *(card.name for card in run.models.values())]
    rows = [
        [name, f"{number[name]:,}", *(percent(each) for each in line)]
        for name, line in zip(wide.index, wide.to_numpy(), strict=True)
    ]
    shade = [[None, None, *(min(1.0, 1.5 * (1 - each)) for each in line)] for line in wide.to_numpy()]
    return Table(header, rows, caption, shade)
