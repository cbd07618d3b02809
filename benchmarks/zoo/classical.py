"""Logistic regression on pixels, colours or gradients: `python -m zoo.classical DATA FEATURES SEED`.

Read as the frozen features of the methods are, by the linear probe with ten labels per class and with all labels; the
features are those of the stage `baseline`, and colours without their places. Metrics go to
metrics/DATA/FEATURES-SEED.json, which test images were right to right/DATA/FEATURES-SEED.safetensors.
"""

import sys

import numpy as np
import torch
import yaml

from repflow.data.read.rows import TRAINING, Domain, Side, open_domain
from repflow.encoders import EncoderConfig, build_encoder
from repflow.encoders.classical import ColourHistogramConfig, HOGConfig, PixelsConfig
from repflow.evaluation.features import encode
from repflow.evaluation.linear_probe import LinearConfig, fit_linear_probe
from repflow.evaluation.probes import ProbeConfig
from repflow.hardware.devices import use_threads
from repflow.schema import build
from zoo import FLOOR, HERE
from zoo.learn import HARDWARE, write, write_right
from zoo.readings import few_of_each

FEATURES: dict[str, EncoderConfig] = {
    "pixels": PixelsConfig(),
    "colour_histogram": ColourHistogramConfig(),
    "hog": HOGConfig(),
}


def main(data: str, name: str, seed: int) -> None:
    """Fit, test, write the metrics."""
    settings = yaml.safe_load((HERE / "settings" / data / f"{FLOOR}.yaml").read_text(encoding="utf-8"))
    domain = open_domain("source", HERE / data / "data/stores", HERE / data / "data/splits")
    use_threads(HARDWARE.threads)
    right = read(build(ProbeConfig, settings["probe"], "probe").linear, FEATURES[name], domain, seed)
    found = {name: float(each.mean()) for name, each in right.items()}
    write(HERE / "metrics" / data / f"{name}-{seed}.json", {**found, "images": 0, "flops": 0})
    write_right(HERE / "right" / data / f"{name}-{seed}.safetensors", {"linear": right["linear"]})


def read(config: LinearConfig, features: EncoderConfig, domain: Domain, seed: int) -> dict[str, np.ndarray]:
    """Which test rows are right, bool [N], with all labels (`linear`) and with a few of each class (`linear_few`)."""
    channels, size = domain.store.images.shape[1:3]
    encoder = build_encoder(features, channels, size).eval()
    encoder.set_normalisation(torch.zeros(channels), torch.ones(channels))
    train_rows, test_rows = domain.labelled_rows(*TRAINING), domain.labelled_rows(Side.TEST)
    training, test = encode(encoder, train_rows.images), encode(encoder, test_rows.images)
    nothing = np.empty((0, encoder.width), np.float32), np.empty(0, np.int64)
    found = {}
    for name, chosen in (("linear", slice(None)), ("linear_few", few_of_each(train_rows, seed))):
        probe = fit_linear_probe(config, training[chosen], train_rows.labels[chosen], *nothing)
        found[name] = probe.predict(test) == test_rows.labels
    return found


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
