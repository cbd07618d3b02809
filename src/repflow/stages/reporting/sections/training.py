"""The sections on pretraining, on the hyperparameter search and on fine-tuning."""

from typing import Any

import numpy as np
import pandas as pd
import yaml

from repflow.data.read.rows import Side
from repflow.encoders.model_files import load_encoder
from repflow.evaluation.features import encode
from repflow.randomness.seeds import derive_seed, numpy_generator
from repflow.stages import paths
from repflow.stages.parameters import read_raw
from repflow.stages.reporting.charts import gain_chart, search_chart
from repflow.stages.reporting.content import (
    Block,
    Figure,
    Figures,
    Paragraph,
    Section,
    Table,
    describe_gain,
    percent,
    points,
)
from repflow.stages.reporting.curves import curve_chart, panels, read_curve
from repflow.stages.reporting.embedding import MapPoints, map_with_thumbnails, project
from repflow.stages.reporting.results import RunResults, metrics
from repflow.stages.reporting.sections.image_grids import pretraining_figures
from repflow.stages.reporting.style import CLASSES, Graphic

SCORES = {
    "linear": "linear probe, accuracy",
    "knn": "k-nearest neighbours, accuracy",
    "acc": "clustering accuracy (ACC)",
    "nmi": "normalised mutual information (NMI)",
    "ari": "adjusted Rand index (ARI)",
}


def training_figure(key: str, name: str) -> list[Figure]:
    """The curves of the training `key`, as "adapt/dann"; empty if nothing was trained."""
    curve = read_curve(paths.PLOTS / "curves" / f"{key}.tsv")
    losses, shares = panels(curve)
    if not losses and not shares:
        return []
    about = metrics(key)
    alt = f"Training curves of {key}"
    caption = f"{about.get('steps', int(curve['step'].max())):,} training steps."
    if "validation" in about:
        caption += (
            f" The weights of step {about['kept_step']:,} were kept, which had the best accuracy on the validation"
            f" split of the source ({percent(about['validation'])})."
        )
    return [Figure(curve_chart(f"curve.{key.replace('/', '.')}", alt, name, curve), caption)]


def pretraining_section(run: RunResults) -> Section:
    """The training curves of the pretraining, the probes of the encoder, and a map of its features."""
    card, about = run.pretrain, metrics("pretrain")
    seen = f"{about['images']:,} training images" if "images" in about else "the training images"
    domains = " of both domains" if run.has_target else ""
    text = f"{card.name}: {card.about} Trained on {seen}{domains}, without labels."
    if not run.pretrained:
        text = "There was no pretraining: the encoder has the weights that it was given."
    blocks: list[Block] = [Paragraph(text)]
    figures = training_figure("pretrain", card.name)
    probe = metrics("probe")
    if probe:
        figures.append(Figure(_gains(probe), _gain_caption(probe)))
    blocks.append(Figures(figures))
    if probe:
        blocks.append(_probe_table(probe))
    blocks += [pretraining_figures(), _map(run)]
    return Section("Pretraining", blocks)


def _gains(probe: dict[str, Any]) -> Graphic:
    return gain_chart("probe", "Scores with random and with pretrained weights", probe["random"], probe["pretrained"])


def _gain_caption(probe: dict[str, Any]) -> str:
    config, rows, gain = read_raw("probe"), probe["rows"], probe["gain"]
    return (
        f"Probes of the frozen encoder on {rows['test']:,} source test images. The linear probe and the"
        f" {config['knn']['neighbours']}-nearest-neighbour classifier are fitted on {rows['labelled']:,} labelled"
        f" images, the clusters on {rows['training']:,} images without labels. Rings: mean of"
        f" {config['random_encoders']} encoders with random weights. In the linear probe, compared with random weights,"
        f" the pretrained encoder {describe_gain(gain['linear'], gain['linear_low'], gain['linear_high'])}."
        f"{_sample_text(probe)}"
    )


def _sample_text(probe: dict[str, Any]) -> str:
    """Of which rows the probes take a sample."""
    sampled = probe.get("sampled", {})
    parts = [f"{each['used']:,} of {each['of']:,} {name} images" for name, each in sampled.items()]
    return f" Samples, evenly spaced: {', '.join(parts)}." if parts else ""


def _probe_table(probe: dict[str, Any]) -> Table:
    rows = []
    for key, name in SCORES.items():
        gain = probe["gain"]
        ends = f"{points(gain[f'{key}_low'])} to {points(gain[f'{key}_high'])}" if f"{key}_low" in gain else ""
        before, after = percent(probe["random"][key]), percent(probe["pretrained"][key])
        rows.append([name, before, after, points(gain[key]), ends])
    caption = (
        "Interval: 95 % paired bootstrap interval of the gain over the test images. It does not include the variation"
        " between random seeds."
    )
    return Table(["probe", "random", "pretrained", "gain, points", "95 % interval"], rows, caption)


def test_points(run: RunResults, limit: int) -> MapPoints:
    """At most `limit` test images of both domains, without positions; half of each domain if both have enough."""
    parts = {"source": run.source.labelled_rows(Side.TEST), "target": run.target.rows(Side.TEST)}
    source, target = (len(rows) for rows in parts.values())
    shares = {"source": max(limit // 2, limit - target), "target": max(limit // 2, limit - source)}
    images, labels, is_target = [], [], []
    for name, rows in parts.items():
        order = numpy_generator(run.seed, f"report/map/{name}").permutation(len(rows))
        chosen = np.sort(order[: shares[name]])
        images.append(rows.images[chosen])
        labels.append(rows.labels[chosen])
        is_target.append(np.full(len(chosen), name == "target"))
    nowhere = np.empty((sum(map(len, labels)), 2))
    return MapPoints(nowhere, np.concatenate(is_target), np.concatenate(labels), np.concatenate(images))


def with_positions(run: RunResults, points: MapPoints, features: np.ndarray) -> MapPoints:
    """The same points, at positions computed from their features [N, width]."""
    config = run.config.map
    positions = project(features, config.method, config.perplexity, derive_seed(run.seed, "report/map") % 2**32)
    return MapPoints(positions, points.is_target, points.labels, points.images)


def _map(run: RunResults) -> Figures:
    config = run.config.map
    points = test_points(run, config.points)
    points = with_positions(run, points, encode(load_encoder(paths.MODELS / "pretrain"), points.images))
    classes = [
        (f"class-{label % len(CLASSES)}", run.source.classes[label])
        for label in np.unique(points.labels[~points.is_target])
    ]
    key = classes if len(classes) <= len(CLASSES) else []
    rings = int(points.is_target.sum())
    there = len(run.source.labelled_rows(Side.TEST)) + len(run.target.rows(Side.TEST))
    name = "t-SNE" if config.method == "tsne" else "PCA"
    text = (
        f"{name} map of {_share(len(points.images), there)} test images in the feature space of the pretrained encoder:"
        " similar images are close together. Dots are source images, coloured by class; separate clusters of one colour"
        " are classes that the encoder found without labels."
    )
    if not key:
        text += f" With {len(classes)} classes, colours repeat."
    if rings:
        key.append(("ring", "target, label not read"))
        text += (
            " Rings are target images. Where they form clusters of their own, the encoder separates the domains rather"
            " than the classes."
        )
    graphic = map_with_thumbnails("map.pretrain", "Map of the pretrained encoder's features", points, config.thumbnails)
    return Figures([Figure(graphic, text)], size="wide", key=key)


def _share(shown: int, there: int) -> str:
    """As "600" or, of a sample, "600 of 12,000"."""
    return f"{shown:,}" if shown == there else f"{shown:,} of {there:,}"


def finetuning_section(run: RunResults) -> Section:
    """The hyperparameter search and the fine-tuning."""
    card = run.finetune
    start = "random weights" if card.start == "random" else "the pretrained encoder"
    labelled = len(run.source.rows(Side.LABELLED))
    text = f"{card.name}: {card.about} Starts from {start}; trained with {labelled:,} labelled source images."
    blocks: list[Block] = [Paragraph(text)]
    figures, table = _search()
    figures += training_figure("finetune", card.name)
    blocks.append(Figures(figures))
    return Section("Fine-tuning", blocks + table)


def _search() -> tuple[list[Figure], list[Block]]:
    """The figures of the hyperparameter search and the values that it found; empty without a search."""
    path = paths.MODELS / "tune" / "trials.csv"
    trials = pd.read_csv(path) if path.is_file() else pd.DataFrame({"number": [], "state": [], "value": []})
    shown = trials.dropna(subset="value")
    if not len(shown):
        return [], []
    complete = (shown["state"] == "complete").to_numpy()
    chart = search_chart(
        "search", "Score of every trial", shown["number"].to_numpy(), shown["value"].to_numpy(), complete
    )
    counts = trials["state"].value_counts()
    caption = (
        f"{len(trials)} trials, {counts.get('pruned', 0)} of them pruned (crosses). Dots: accuracy on the validation"
        " split of the source; line: best so far. The best of many trials is biased upwards; only the test accuracy is"
        " unbiased."
    )
    figures = [Figure(chart, caption)]
    importance = paths.PLOTS / "tune" / "importance.png"
    if importance.is_file():
        graphic = Graphic("search.importance", "Hyperparameter importance", importance.read_bytes(), width=420)
        figures.append(Figure(graphic, "Hyperparameter importance: the share of the variance between trials (fANOVA)."))
    return figures, _best_values()


def _best_values() -> list[Block]:
    path = paths.MODELS / "tune" / "best.yaml"
    found = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else None
    if not found:
        return []
    rows = [[key, _plain(_default(key)), _plain(value)] for key, value in found.items()]
    caption = "The best values of the hyperparameter search. Keys are below `finetune` in params.yaml."
    return [Table(["hyperparameter", "before the search", "best value"], rows, caption)]


def _default(key: str) -> Any:
    value = read_raw("finetune")
    for part in key.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _plain(value: Any) -> str:
    return "(default)" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
