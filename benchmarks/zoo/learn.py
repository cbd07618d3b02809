"""One entry of the leaderboard: train a method and probe its frozen encoder: `python learn.py DATA METHOD SEED`.

Metrics go to metrics/DATA/METHOD-SEED.json, which test images were right to right/DATA/METHOD-SEED.safetensors;
seconds, memory and the machine, which differ from run to run, to costs/DATA/METHOD-SEED.json.
"""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from safetensors.numpy import save_file
from torch import nn

from repflow.data.read.rows import TRAINING, Domain, Side, open_domain
from repflow.encoders import Classifier, Encoder, HeadConfig, build_encoder
from repflow.encoders.classifier import build_head
from repflow.encoders.encoder import normalise_by
from repflow.encoders.pretrained import fill
from repflow.errors import RepflowError
from repflow.evaluation.cluster_assignments import AssignsClusters, cluster_assignments
from repflow.evaluation.clustering import clustering_scores, fit_kmeans, predict_clusters
from repflow.evaluation.features import encode
from repflow.evaluation.generation import generation_scores
from repflow.evaluation.probes import ProbeConfig
from repflow.hardware.devices import HardwareConfig, prepare, use_threads
from repflow.methods.registry import modules_in
from repflow.randomness.draws import seeded
from repflow.randomness.seeds import derive_seed
from repflow.schema import build
from repflow.stages.learning import MethodSection, check_method
from repflow.training import train
from repflow.training.checkpoints import CheckpointConfig, CheckpointLocation, Checkpoints, fingerprint
from repflow.training.contract import Method
from repflow.training.cost import Meter
from repflow.training.loop import NO_CHECKPOINTS
from speed.machine import processor
from zoo import CEILING, HERE, LONG, is_floor
from zoo.code import code_of
from zoo.readings import Readings

MINUTES = "ZOO_MINUTES"
"""Environment variable: minutes after which a training saves a checkpoint and ends, with exit code 75; the next run of
the entry goes on from there."""
HARDWARE = HardwareConfig(threads=1)
"""One thread, so that results do not depend on the number of cores."""


def main(data: str, name: str, seed: int) -> None:
    """Train, evaluate, write the metrics."""
    settings = yaml.safe_load((HERE / "settings" / data / f"{name}.yaml").read_text(encoding="utf-8"))
    images = data.removesuffix(LONG)
    domain = open_domain("source", HERE / images / "data/stores", HERE / images / "data/splits")
    meter = Meter()
    use_threads(HARDWARE.threads)
    place = HERE / ".checkpoints" / data / f"{name}-{seed}"
    encoder, method = learn(settings["method"], domain, name, seed, meter, place)
    found, right = read(build(ProbeConfig, settings["probe"], "probe"), encoder, method, domain, seed)
    cost = meter.cost()
    write(HERE / "metrics" / data / f"{name}-{seed}.json", {**found, "images": cost.images, "flops": cost.flops})
    write_right(HERE / "right" / data / f"{name}-{seed}.safetensors", right)
    spent = {"seconds": cost.training_seconds, "memory_bytes": cost.memory}
    write(HERE / "costs" / data / f"{name}-{seed}.json", {**spent, "machine": machine()})


def learn(
    values: Mapping[str, Any], domain: Domain, name: str, seed: int, meter: Meter, place: Path | None = None
) -> tuple[Encoder, Method | None]:
    """The trained encoder and its method, which is None for a baseline with random weights.

    Args:
        values: the section of the entry's settings.
        domain: its training rows are learned from.
        name: of the entry.
        seed: of all that is random.
        meter: measures the cost.
        place: where checkpoints are saved; None for none.

    Raises:
        Interrupted: the training was stopped, and saved a checkpoint that the next call goes on from.
    """
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
    checkpoints = NO_CHECKPOINTS
    if place is not None:
        code = code_of({"zoo.learn", *modules_in(values)})
        start_of = (value for item in method.state_dict().items() for value in item)
        key = fingerprint(values, seed, code, training.images, training.labels, *start_of)
        limit = 60 * float(os.environ[MINUTES]) if MINUTES in os.environ else None
        config = CheckpointConfig(every_seconds=60.0, stop_after_seconds=limit)
        checkpoints = Checkpoints(CheckpointLocation(place, key), config)
    train(method, rows, section.training, fabric, seed=seed, title=name, meter=meter, checkpoints=checkpoints)
    return encoder, method


def read(
    config: ProbeConfig, encoder: Encoder, method: Method | None, domain: Domain, seed: int
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Scores of the frozen features on the test rows, and which rows each probe gets right (`zoo.readings`).

    Beside the accuracies stand clustering scores, and the distance of the images that the method generates, if any,
    from real ones.
    """
    train_rows, test_rows = domain.labelled_rows(*TRAINING), domain.labelled_rows(Side.TEST)
    readings = Readings(config, encoder, domain, seed)
    training, test = encode(encoder, train_rows.images), encode(encoder, test_rows.images)
    means = fit_kmeans(config.clustering, training, len(domain.classes), derive_seed(seed, "zoo/clusters") % 2**32)
    scores = {"k_means": clustering_scores(test_rows.labels, predict_clusters(means, test))}
    if isinstance(method, AssignsClusters):
        clusters = cluster_assignments(method, test_rows.images)
        scores["own"] = {**clustering_scores(test_rows.labels, clusters), "clusters": len(np.unique(clusters))}
    generated = generation_scores(method, train_rows.images, seed)
    found = {**readings.accuracies, "rows": len(test_rows), "clusters": scores, **generated}
    return found, readings.right


def machine() -> str:
    """The machine that the seconds were measured on, without host names and paths."""
    vectors = torch.backends.cpu.get_cpu_capability()
    return f"{processor()} ({vectors}), {torch.get_num_threads()} threads, torch {torch.__version__.split('+')[0]}"


def write_right(path: Path, right: Mapping[str, np.ndarray]) -> None:
    """Write which images were right, name to bool [N], eight to a byte: what the paired tests of the tables need."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: np.packbits(each) for name, each in sorted(right.items())}, path)


def write(path: Path, values: Mapping[str, Any]) -> None:
    """Write JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    try:
        main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
    except RepflowError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
