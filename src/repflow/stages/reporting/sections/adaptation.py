"""The section on domain adaptation: how much of the domain gap each method closes, and maps of the features."""

import numpy as np

from repflow.encoders.model_files import load_encoder
from repflow.evaluation.features import encode
from repflow.stages import paths
from repflow.stages.reporting.charts import Estimate, interval_chart
from repflow.stages.reporting.content import (
    Block,
    Figure,
    Figures,
    Paragraph,
    Section,
    Table,
    between,
    describe_gain,
    join_names,
    percent,
    points,
)
from repflow.stages.reporting.embedding import map_of_domains
from repflow.stages.reporting.results import RunResults
from repflow.stages.reporting.sections.training import test_points, training_figure, with_positions
from repflow.stages.reporting.style import TARGET

_MAP_POINTS = 240


def adaptation_section(run: RunResults) -> Section:
    """The adapted models, compared with training on the source only and with training on target labels."""
    if not run.adapt:
        return Section("Domain adaptation", [])
    curves = [figure for key, card in run.adapt.items() for figure in training_figure(f"adapt/{key}", card.name)]
    blocks: list[Block] = [Paragraph(_summary(run)), _gap_figure(run), _gain_table(run)]
    blocks += [Paragraph(_map_text(run)), _maps(run), Figures(curves)]
    return Section("Domain adaptation", blocks)


def _summary(run: RunResults) -> str:
    if not run.adapted:
        return "No adaptation method was run, only the baselines."
    text = (
        f"{join_names([run.adapt[key].name for key in run.adapted])}: trained on labelled source images and unlabelled"
        " target images. The same model trained on the source only is the lower baseline; trained on target labels, it"
        " is the upper baseline."
    )
    if not run.evaluation["rows"].get("target"):
        return text + " The target has no labelled test images, so their target accuracy is unknown."
    for key in run.adapted:
        gain = run.evaluation[key].get("gain")
        if run.floor and gain:
            difference = describe_gain(gain["value"], gain["low"], gain["high"])
            floor, model = run.adapt[run.floor].name_in_sentence, run.adapt[key].name_in_sentence
            text += f" Compared with {floor}, {model} {difference}."
    return text


def _gap_figure(run: RunResults) -> Figures:
    estimates = [
        Estimate(run.adapt[key].name, share["value"], share["low"], share["high"])
        for key in run.adapted
        if (share := run.evaluation[key].get("gap_closed"))
    ]
    if not estimates:
        return Figures([])
    title = "Share of the domain gap closed"
    marks = {"source only": 0.0, "train on target": 1.0}
    chart = interval_chart("gap", f"{title}, with confidence intervals", title, estimates, TARGET, marks)
    caption = (
        "0 % is the target accuracy of the model trained on the source only, 100 % that of the model trained on target"
        " labels. All models are tested on the same images, which the bootstrap resamples together."
    )
    return Figures([Figure(chart, caption)])


def _gain_table(run: RunResults) -> Table:
    """The gain of every model over the lower baseline, and its share of the domain gap."""
    rows = []
    for key, card in run.adapt.items():
        gain, share = run.evaluation[key].get("gain"), run.evaluation[key].get("gap_closed")
        if not gain:
            continue
        cells = [card.name, percent(run.scores(key, "target")["accuracy"])]
        cells += [points(gain["value"]), f"{points(gain['low'])} to {points(gain['high'])}"]
        cells.append("better" if gain["low"] > 0 else "worse" if gain["high"] < 0 else "not significant")
        cells += [percent(share["value"]), between(share["low"], share["high"])] if share else ["", ""]
        rows.append(cells)
    header = ["method", "target accuracy", "gain, points", "interval", "significance", "gap closed", "interval"]
    caption = "Gain: target test accuracy minus that of the model trained on the source only, on the same images."
    return Table(header, rows, caption)


def _map_text(run: RunResults) -> str:
    return (
        "Maps of the same test images in the feature space of each adapted encoder. Where the domains are separate, a"
        " classifier trained on one of them has to extrapolate to the other; after a successful adaptation they"
        " overlap."
    )


def _maps(run: RunResults) -> Figures:
    """A small map for every adapted encoder; methods that produce the same encoder share one."""
    start = test_points(run, min(_MAP_POINTS, run.config.map.points))
    encoders: dict[bytes, list[str]] = {}
    for key in run.adapt:
        features = encode(load_encoder(paths.MODELS / "adapt" / key), start.images)
        encoders.setdefault(features.tobytes(), []).append(key)
    figures = []
    for stored, keys in encoders.items():
        own = with_positions(run, start, np.frombuffer(stored, np.float32).reshape(len(start.images), -1))
        names = join_names(
            [card.name if key == keys[0] else card.name_in_sentence for key in keys if (card := run.adapt[key])]
        )
        graphic = map_of_domains(f"map.{keys[0]}", f"Map of the features of {names}", own.positions, own.is_target)
        shared = ", which have the same encoder." if len(keys) > 1 else f": {run.adapt[keys[0]].about}"
        figures.append(Figure(graphic, names + shared))
    return Figures(figures, size="small", key=[("source", "source"), ("target", "target")])
