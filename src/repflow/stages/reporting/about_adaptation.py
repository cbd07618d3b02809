"""The section on adaptation: how much of the gap between the domains each method closes, and what it does to maps."""

import numpy as np

from repflow.encoders.model_files import load_encoder
from repflow.evaluation.features import encode
from repflow.stages import paths
from repflow.stages.reporting.about_learning import placed, test_points, training_figure
from repflow.stages.reporting.charts import Estimate, interval_chart
from repflow.stages.reporting.content import (
    Block,
    Figure,
    Figures,
    Paragraph,
    Section,
    Table,
    between,
    listed,
    percent,
    points,
    verdict,
)
from repflow.stages.reporting.embedding import map_of_domains
from repflow.stages.reporting.facts import Facts
from repflow.stages.reporting.style import TARGET

_MAP_POINTS = 240


def adaptation_section(facts: Facts) -> Section:
    """How the adapted models stand between the one that saw the source only and the one that saw target labels."""
    if not facts.adapt:
        return Section("From source to target", [])
    curves = [figure for key, card in facts.adapt.items() for figure in training_figure(f"adapt/{key}", card.name)]
    blocks: list[Block] = [Paragraph(_opening(facts)), _gap_figure(facts), _standing_table(facts)]
    blocks += [Paragraph(_about_maps(facts)), _maps(facts), Figures(curves)]
    return Section("From source to target", blocks)


def _opening(facts: Facts) -> str:
    if not facts.adapted:
        return "No method of adaptation was run, only the models that others are held against."
    text = (
        f"{listed([facts.adapt[key].name for key in facts.adapted])} learned from source images with labels and target"
        " images without. The same model trained on the source only is the floor of the comparison, the one trained on"
        " target labels the ceiling."
    )
    if not facts.evaluation["rows"].get("target"):
        return text + " The target has no labelled test images, so nobody can say how good they are."
    for key in facts.adapted:
        gain = facts.evaluation[key].get("gain")
        if facts.floor and gain:
            said = verdict(gain["value"], gain["low"], gain["high"])
            text += f" Held against {facts.adapt[facts.floor].inside}, {facts.adapt[key].inside} {said}."
    return text


def _gap_figure(facts: Facts) -> Figures:
    estimates = [
        Estimate(facts.adapt[key].name, share["value"], share["low"], share["high"])
        for key in facts.adapted
        if (share := facts.evaluation[key].get("gap_closed"))
    ]
    if not estimates:
        return Figures([])
    title = "Share of the domain gap closed"
    chart = interval_chart("gap", f"{title}, with intervals", title, estimates, TARGET, {"floor": 0.0, "ceiling": 1.0})
    caption = (
        "0 % is as good on the target as the model that saw the source only, 100 % as good as the one that saw target"
        " labels. All are tested on the same images, which are drawn anew together for the intervals."
    )
    return Figures([Figure(chart, caption)])


def _standing_table(facts: Facts) -> Table:
    """The gain of every model over the floor, and its share of the gap."""
    rows = []
    for key, card in facts.adapt.items():
        gain, share = facts.evaluation[key].get("gain"), facts.evaluation[key].get("gap_closed")
        if not gain:
            continue
        cells = [card.name, percent(facts.scores(key, "target")["accuracy"])]
        cells += [points(gain["value"]), f"{points(gain['low'])} to {points(gain['high'])}"]
        cells.append("better" if gain["low"] > 0 else "worse" if gain["high"] < 0 else "not told apart")
        cells += [percent(share["value"]), between(share["low"], share["high"])] if share else ["", ""]
        rows.append(cells)
    header = ["method", "target accuracy", "gain, points", "interval", "beyond it", "gap closed", "interval"]
    caption = "Gain: target test accuracy less that of the model that saw the source only, on the same images."
    return Table(header, rows, caption)


def _about_maps(facts: Facts) -> str:
    return (
        "What each training did to the map of the same test images: where the domains lie apart, a classifier that"
        " learned from one of them has never been where the other is. Look for orange among the blue."
    )


def _maps(facts: Facts) -> Figures:
    """A small map for every adapted encoder; methods that leave the encoder alike share one."""
    start = test_points(facts, min(_MAP_POINTS, facts.config.map.points))
    encoders: dict[bytes, list[str]] = {}
    for key in facts.adapt:
        features = encode(load_encoder(paths.MODELS / "adapt" / key), start.images)
        encoders.setdefault(features.tobytes(), []).append(key)
    figures = []
    for stored, keys in encoders.items():
        own = placed(facts, start, np.frombuffer(stored, np.float32).reshape(len(start.images), -1))
        names = listed([card.name if key == keys[0] else card.inside for key in keys if (card := facts.adapt[key])])
        sheet = map_of_domains(f"map.{keys[0]}", f"Map of the features of {names}", own.places, own.is_target)
        shared = ", which share their encoder." if len(keys) > 1 else f": {facts.adapt[keys[0]].about}"
        figures.append(Figure(sheet, names + shared))
    return Figures(figures, size="small", key=[("source", "source"), ("target", "target")])
