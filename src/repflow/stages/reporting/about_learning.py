"""The middle sections: what was learned without labels, and with few."""

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
from repflow.stages.reporting.about_image_grids import pretraining_pictures
from repflow.stages.reporting.charts import gain_chart, search_chart
from repflow.stages.reporting.content import (
    Block,
    Figure,
    Figures,
    Paragraph,
    Section,
    Table,
    percent,
    points,
    verdict,
)
from repflow.stages.reporting.curves import curve_chart, panels, read_curve
from repflow.stages.reporting.embedding import Points, map_with_thumbnails, project
from repflow.stages.reporting.facts import Facts, metrics
from repflow.stages.reporting.style import CLASSES, Picture

SCORES = {
    "linear": "linear probe, accuracy",
    "knn": "nearest neighbours, accuracy",
    "acc": "clusters, accuracy (ACC)",
    "nmi": "clusters, mutual information (NMI)",
    "ari": "clusters, Rand index (ARI)",
}


def training_figure(key: str, name: str) -> list[Figure]:
    """The curve of the training `key`, as "adapt/dann"; none where nothing was trained."""
    curve = read_curve(paths.PLOTS / "curves" / f"{key}.tsv")
    losses, shares = panels(curve)
    if not losses and not shares:
        return []
    about = metrics(key)
    alt = f"Curves of the training {key}"
    caption = f"{about.get('steps', int(curve['step'].max())):,} steps of training."
    if "validation" in about:
        caption += (
            f" The weights after step {about['kept_step']:,} were kept, the best on the source's validation images"
            f" ({percent(about['validation'])})."
        )
    return [Figure(curve_chart(f"curve.{key.replace('/', '.')}", alt, name, curve), caption)]


def pretraining_section(facts: Facts) -> Section:
    """The pretraining's curve, what probes read from the encoder, and a map of it."""
    card, about = facts.pretrain, metrics("pretrain")
    seen = f"{about['images']:,} training images" if "images" in about else "the training images"
    domains = " of both domains" if facts.has_target else ""
    text = f"{card.name}: {card.about} It saw {seen}{domains}, no label among them."
    blocks: list[Block] = [Paragraph(text)]
    figures = training_figure("pretrain", card.name)
    probe = metrics("probe")
    if probe:
        figures.append(Figure(_gains(probe), _about_gains(probe)))
    blocks.append(Figures(figures))
    if probe:
        blocks.append(_probe_table(probe))
    blocks += [pretraining_pictures(), _map(facts)]
    return Section("Learning without labels", blocks)


def _gains(probe: dict[str, Any]) -> Picture:
    return gain_chart("probe", "Scores with random and with pretrained weights", probe["random"], probe["pretrained"])


def _about_gains(probe: dict[str, Any]) -> str:
    config, rows, gain = read_raw("probe"), probe["rows"], probe["gain"]
    return (
        f"What simple probes read from the frozen encoder, on {rows['test']:,} source test images. Linear probe and"
        f" {config['knn']['neighbours']} neighbours learn from {rows['labelled']:,} labelled images, the clusters from"
        f" {rows['training']:,} without labels. Rings: the mean of {config['random_encoders']} encoders with random"
        f" weights. By the linear probe, held against random weights, the pretrained encoder"
        f" {verdict(gain['linear'], gain['linear_low'], gain['linear_high'])}."
    )


def _probe_table(probe: dict[str, Any]) -> Table:
    rows = []
    for key, name in SCORES.items():
        gain = probe["gain"]
        ends = f"{points(gain[f'{key}_low'])} to {points(gain[f'{key}_high'])}" if f"{key}_low" in gain else ""
        before, after = percent(probe["random"][key]), percent(probe["pretrained"][key])
        rows.append([name, before, after, points(gain[key]), ends])
    caption = (
        "The interval holds 95 % of the gains that come out when the test images are drawn anew (paired bootstrap)."
        " It says nothing of other seeds."
    )
    return Table(["probe", "random", "pretrained", "gain, points", "95 % interval"], rows, caption)


def test_points(facts: Facts, limit: int) -> Points:
    """Test images of both domains without places, at most `limit`, half of each domain where both have so many."""
    parts = {"source": facts.source.labelled_rows(Side.TEST), "target": facts.target.rows(Side.TEST)}
    source, target = (len(rows) for rows in parts.values())
    shares = {"source": max(limit // 2, limit - target), "target": max(limit // 2, limit - source)}
    images, labels, is_target = [], [], []
    for name, rows in parts.items():
        order = numpy_generator(facts.seed, f"report/map/{name}").permutation(len(rows))
        chosen = np.sort(order[: shares[name]])
        images.append(rows.images[chosen])
        labels.append(rows.labels[chosen])
        is_target.append(np.full(len(chosen), name == "target"))
    nowhere = np.empty((sum(map(len, labels)), 2))
    return Points(nowhere, np.concatenate(is_target), np.concatenate(labels), np.concatenate(images))


def placed(facts: Facts, points: Points, features: np.ndarray) -> Points:
    """The same points in the places that their features [N, width] give them."""
    config = facts.config.map
    places = project(features, config.method, config.perplexity, derive_seed(facts.seed, "report/map") % 2**32)
    return Points(places, points.is_target, points.labels, points.images)


def _map(facts: Facts) -> Figures:
    config = facts.config.map
    points = test_points(facts, config.points)
    points = placed(facts, points, encode(load_encoder(paths.MODELS / "pretrain"), points.images))
    classes = [
        (f"class-{label % len(CLASSES)}", facts.source.classes[label])
        for label in np.unique(points.labels[~points.is_target])
    ]
    key = classes if len(classes) <= len(CLASSES) else []
    rings = int(points.is_target.sum())
    name = "t-SNE" if config.method == "tsne" else "PCA"
    text = (
        f"The pretrained encoder's map of {len(points.images):,} test images ({name}): images stand close where the"
        " encoder finds them alike. Dots are source images in the colours of their classes; look for islands of one"
        " colour, which are classes that were found without labels."
    )
    if not key:
        text += f" With {len(classes)} classes, colours come more than once."
    if rings:
        key.append(("ring", "target, label not read"))
        text += (
            " Rings are target images. Where they keep to themselves, the encoder still sees the domain rather than"
            " what is shown."
        )
    sheet = map_with_thumbnails("map.pretrain", "Map of the pretrained encoder's features", points, config.thumbnails)
    return Figures([Figure(sheet, text)], size="wide", key=key)


def finetuning_section(facts: Facts) -> Section:
    """The search and the fine-tuning."""
    card = facts.finetune
    start = "random weights" if card.start == "random" else "the pretrained encoder"
    labelled = len(facts.source.rows(Side.LABELLED))
    text = f"{card.name}: {card.about} It starts from {start} and learns from {labelled:,} labelled source images."
    blocks: list[Block] = [Paragraph(text)]
    figures, table = _search()
    figures += training_figure("finetune", card.name)
    blocks.append(Figures(figures))
    return Section("Learning from few labels", blocks + table)


def _search() -> tuple[list[Figure], list[Block]]:
    """Pictures of the search, and the settings that it found; nothing where nothing was searched."""
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
        f"{len(trials)} trials, {counts.get('pruned', 0)} given up early (crosses). Dots: accuracy on the source's"
        " validation images; the line is the best so far. The best of many is lucky as well as good: trust the test."
    )
    figures = [Figure(chart, caption)]
    importance = paths.PLOTS / "tune" / "importance.png"
    if importance.is_file():
        sheet = Picture("search.importance", "What mattered in the search", importance.read_bytes(), width=420)
        figures.append(Figure(sheet, "How much of the difference between trials each setting explains."))
    return figures, _found()


def _found() -> list[Block]:
    path = paths.MODELS / "tune" / "best.yaml"
    found = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else None
    if not found:
        return []
    rows = [[key, _plain(_default(key)), _plain(value)] for key, value in found.items()]
    return [Table(["setting", "before the search", "found"], rows, "Keys below finetune in the parameters.")]


def _default(key: str) -> Any:
    value = read_raw("finetune")
    for part in key.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _plain(value: Any) -> str:
    return "(its default)" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
