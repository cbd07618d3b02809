"""One entry of the leaderboard: train a method and probe its frozen encoder: `python learn.py DATA METHOD SEED`.

Metrics go to metrics/DATA/METHOD-SEED.json; seconds, memory and the machine, which differ from run to run, to
costs/DATA/METHOD-SEED.json.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import nn

from repflow.data.read.rows import TRAINING, Domain, Rows, Side, open_domain
from repflow.encoders import Classifier, Encoder, HeadConfig, build_encoder
from repflow.encoders.classifier import build_head
from repflow.encoders.encoder import normalise_by
from repflow.encoders.pretrained import fill
from repflow.evaluation.cluster_assignments import AssignsClusters, cluster_assignments
from repflow.evaluation.clustering import clustering_scores, fit_kmeans, predict_clusters
from repflow.evaluation.features import encode
from repflow.evaluation.generation import generation_scores
from repflow.evaluation.knn import fit_knn
from repflow.evaluation.linear_probe import fit_linear_probe
from repflow.evaluation.probes import ProbeConfig
from repflow.hardware.devices import HardwareConfig, prepare, use_threads
from repflow.randomness.draws import seeded
from repflow.randomness.seeds import derive_seed, numpy_generator
from repflow.schema import build
from repflow.stages.learning import MethodSection, check_method
from repflow.training import train
from repflow.training.contract import Method
from repflow.training.cost import Meter
from speed.machine import processor
from zoo import CEILING, HERE, is_floor

LABELS = 10
"""Labels per class for the linear probe with few labels."""
HARDWARE = HardwareConfig(threads=1)
"""One thread, so that results do not depend on the number of cores."""


def main(data: str, name: str, seed: int) -> None:
    """Train, evaluate, write the metrics."""
    settings = yaml.safe_load((HERE / "settings" / data / f"{name}.yaml").read_text(encoding="utf-8"))
    domain = open_domain("source", HERE / data / "data/stores", HERE / data / "data/splits")
    meter = Meter()
    use_threads(HARDWARE.threads)
    encoder, method = learn(settings["method"], domain, name, seed, meter)
    found = read(build(ProbeConfig, settings["probe"], "probe"), encoder, method, domain, seed)
    cost = meter.cost()
    write(HERE / "metrics" / data / f"{name}-{seed}.json", {**found, "images": cost.images, "flops": cost.flops})
    spent = {"seconds": cost.training_seconds, "memory_bytes": cost.memory}
    write(HERE / "costs" / data / f"{name}-{seed}.json", {**spent, "machine": machine()})


def learn(
    values: Mapping[str, Any], domain: Domain, name: str, seed: int, meter: Meter
) -> tuple[Encoder, Method | None]:
    """The trained encoder and its method, which is None for a baseline with random weights."""
    training = domain.rows(*TRAINING, labels=name == CEILING)
    if is_floor(name):
        section: Any = build(MethodSection, {**values, "settings": {}}, name)
    else:
        kind, settings, section = check_method(values, f"settings.{name}")
    with seeded(seed, "weights/encoder"):
        encoder = build_encoder(section.encoder, *domain.store.images.shape[1:3])
    normalise_by(encoder, training.images)
    fill(encoder, section.encoder)
    if is_floor(name):
        return encoder.eval(), None
    start: nn.Module = encoder
    if name == CEILING:
        with seeded(seed, "weights/head"):
            start = Classifier(encoder, build_head(HeadConfig(), encoder.width, len(domain.classes)))
    with seeded(seed, "weights/method"):
        method = kind(settings, start)
    fabric = prepare(HARDWARE, updates=len(method.updates))
    rows = dict.fromkeys(method.streams, training)
    train(method, rows, section.training, fabric, seed=seed, title=name, meter=meter)
    return encoder, method


def read(config: ProbeConfig, encoder: Encoder, method: Method | None, domain: Domain, seed: int) -> dict[str, Any]:
    """Scores of the frozen features on the test rows: probe accuracies in [0, 1] and clustering scores; and the
    distance of the images that the method generates, if any, from real ones."""
    train_rows, test_rows = domain.labelled_rows(*TRAINING), domain.labelled_rows(Side.TEST)
    training, test = encode(encoder, train_rows.images), encode(encoder, test_rows.images)
    few = few_of_each(train_rows, seed)
    nothing = np.empty((0, encoder.width), np.float32), np.empty(0, np.int64)
    probes = {
        "knn": fit_knn(config.knn, training, train_rows.labels),
        "linear": fit_linear_probe(config.linear, training, train_rows.labels, *nothing),
        "linear_few": fit_linear_probe(config.linear, training[few], train_rows.labels[few], *nothing),
    }
    found = {name: float(np.mean(probe.predict(test) == test_rows.labels)) for name, probe in probes.items()}
    means = fit_kmeans(config.clustering, training, len(domain.classes), derive_seed(seed, "zoo/clusters") % 2**32)
    scores = {"k_means": clustering_scores(test_rows.labels, predict_clusters(means, test))}
    if isinstance(method, AssignsClusters):
        clusters = cluster_assignments(method, test_rows.images)
        scores["own"] = {**clustering_scores(test_rows.labels, clusters), "clusters": len(np.unique(clusters))}
    return {**found, "clusters": scores, **generation_scores(method, train_rows.images, seed)}


def machine() -> str:
    """The machine that the seconds were measured on, without host names and paths."""
    vectors = torch.backends.cpu.get_cpu_capability()
    return f"{processor()} ({vectors}), {torch.get_num_threads()} threads, torch {torch.__version__.split('+')[0]}"


def few_of_each(rows: Rows, seed: int) -> np.ndarray:
    """Positions of `LABELS` rows of each class: int64 [n]."""
    order = numpy_generator(seed, "zoo/few").permutation(len(rows))
    places = [order[rows.labels[order] == label][:LABELS] for label in np.unique(rows.labels)]
    return np.sort(np.concatenate(places))


def write(path: Path, values: Mapping[str, Any]) -> None:
    """Write JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
