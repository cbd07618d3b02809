"""The stage `probe`: linear probe, kNN and clustering of the frozen encoder, compared with random weights.

Source rows only. Probes are fitted on the labelled rows, their hyperparameters are chosen on the validation split, and
they are scored on the test set. The probes of the pretrained encoder are kept as classifiers, and with them a linear
probe of its features beside oriented gradients.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from repflow.data.read.rows import TRAINING, Domain, Rows, Side, sampled
from repflow.encoders import Encoder
from repflow.encoders.model_files import load_encoder, read_description, save_model
from repflow.errors import DataError
from repflow.evaluation.features import encode
from repflow.evaluation.intervals import percentile_interval, resampled_means
from repflow.evaluation.probe_models import probe_models
from repflow.evaluation.probes import Features, ProbeConfig, Probes, ProbeScores, fit_probes, score_probes
from repflow.files import writing
from repflow.hardware.devices import HardwareConfig, device_for_inference
from repflow.randomness.draws import seeded
from repflow.randomness.seeds import derive_seed, numpy_generator
from repflow.stages import paths
from repflow.stages.parameters import read, seed
from repflow.stages.project import open_project_domain, samples, write_metrics

_RESAMPLES = 2000
_FEATURES = 2**28
"""Bytes of features of a kind of rows: a quarter of a gigabyte, of which the probes make some copies."""
_LEAST_SAMPLE = 10_000
"""Rows of a sample, however wide the features."""


def run() -> None:
    """Read `models/pretrain/` and the source's rows; write `metrics/probe.json` and `models/probe/`."""
    config, run_seed = read("probe", ProbeConfig), seed()
    device = device_for_inference(read("hardware", HardwareConfig))
    source = open_project_domain("source")
    whole = probe_rows(source)
    pretrained = load_encoder(paths.MODELS / "pretrain")
    rows = few_enough(whole, pretrained.width, config.clustering.images)
    probes, scores = read_encoder(config, pretrained.to(device), rows, run_seed)
    random = [
        read_encoder(config, encoder.to(device), rows, run_seed)[1]
        for encoder in random_encoders(pretrained, config.random_encoders, run_seed)
    ]
    metrics = summary(scores, random, source.groups(rows["test"]), run_seed)
    save_probes(config, pretrained, probes, rows)
    used = {name: (len(rows[name]), len(each)) for name, each in whole.items()}
    counts = {name: len(each) for name, each in rows.items()}
    write_metrics(paths.METRICS / "probe.json", {"rows": counts, **metrics, **samples("probe", used)})


def probe_rows(source: Domain) -> dict[str, Rows]:
    """The rows that the probes are fitted and scored on.

    Raises:
        DataError: there are no labelled rows or no test rows.
    """
    rows = {
        "labelled": source.labelled_rows(Side.LABELLED),
        "validation": source.labelled_rows(Side.VALIDATION),
        "training": source.rows(*TRAINING),
        "test": source.labelled_rows(Side.TEST),
    }
    for name in ("labelled", "test"):
        if not len(rows[name]):
            raise DataError(f"probe: the source has no {name} rows with a label; see metrics/split.json and `split`")
    return rows


def few_enough(rows: Mapping[str, Rows], width: int, clustered: int) -> dict[str, Rows]:
    """Samples of the rows, evenly spaced, whose features fit into memory; all of them where they do.

    Args:
        rows: as of `probe_rows`.
        width: dimension of the features.
        clustered: most training rows, which are for k-means alone.
    """
    most = max(_LEAST_SAMPLE, _FEATURES // (4 * width))
    return {name: sampled(each, min(most, clustered) if name == "training" else most) for name, each in rows.items()}


def random_encoders(pretrained: Encoder, count: int, seed: int) -> list[Encoder]:
    """Encoders with random weights, of the same architecture and input normalisation as `pretrained`."""
    description = read_description(paths.MODELS / "pretrain")
    encoders = []
    for number in range(count):
        with seeded(seed, "weights/probe", number):
            encoder = description.new_encoder()
        encoder.set_normalisation(pretrained.mean.flatten(), pretrained.std.flatten())
        encoders.append(encoder.eval())
    return encoders


def read_encoder(
    config: ProbeConfig, encoder: Encoder, rows: Mapping[str, Rows], seed: int
) -> tuple[Probes, ProbeScores]:
    """Fit all probes on the features of one encoder and score them on the test rows."""
    features = {name: Features(encode(encoder, each.images), each.labels) for name, each in rows.items()}
    probes = fit_probes(
        config,
        features["labelled"],
        features["validation"],
        features["training"],
        classes=len(rows["test"].classes),
        seed=derive_seed(seed, "probe/clusters") % 2**32,
    )
    return probes, score_probes(probes, features["test"])


def save_probes(config: ProbeConfig, encoder: Encoder, probes: Probes, rows: Mapping[str, Rows]) -> None:
    """Write the fitted probes as classifiers, one folder each, to `models/probe/`."""
    start = read_description(paths.MODELS / "pretrain")
    models = probe_models(config, encoder, start.encoder, probes, rows["labelled"], rows["validation"])
    with writing(paths.MODELS / "probe", folder=True) as fresh:
        for name, model in models.items():
            description = dataclasses.replace(
                start,
                encoder=model.encoder,
                head=model.head,
                classes=rows["labelled"].classes,
                provenance={"method": f"probe.{name}", "encoder": dict(start.provenance)},
            )
            save_model(fresh / name, model.classifier, description)


def summary(pretrained: ProbeScores, random: list[ProbeScores], groups: np.ndarray, seed: int) -> dict[str, Any]:
    """Scores of the pretrained encoder, the mean scores of the random encoders, and the gain between them.

    The gains in accuracy have a 95 % paired bootstrap interval over the test rows; rows of one of the `groups`
    (int64 [N]) are resampled together.
    """
    sides = {"pretrained": _scores([pretrained]), "random": _scores(random)}
    gain: dict[str, Any] = {
        name: sides["pretrained"][name] - sides["random"][name] for name in ("knn", "linear", "acc", "nmi", "ari")
    }
    for name in ("knn", "linear"):
        mean_right = np.mean([each.right[name] for each in random], axis=0)
        difference = pretrained.right[name] - mean_right
        resampled = resampled_means(difference[None], _RESAMPLES, numpy_generator(seed, f"probe/{name}"), groups)[:, 0]
        interval = percentile_interval(gain[name], resampled)
        gain |= {f"{name}_low": interval.low, f"{name}_high": interval.high}
    return {**sides, "gain": gain}


def _scores(readings: list[ProbeScores]) -> dict[str, float]:
    """Mean scores of several encoders."""
    right = {name: float(np.mean([each.right[name] for each in readings])) for name in ("knn", "linear")}
    clustering = {name: float(np.mean([each.clustering[name] for each in readings])) for name in readings[0].clustering}
    return right | clustering
