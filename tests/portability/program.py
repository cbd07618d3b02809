"""Real training steps and what is computed of their results, with a digest of each part, for test_emulation.py.

    python program.py record DATA.npz > here.txt
    qemu-x86_64 -cpu Haswell-v4 python program.py replay DATA.npz > there.txt

The first run stores the images and what `grid_sample` made of them; the second takes the views from the file, once it
has seen that they were drawn at the same coordinates: QEMU 7.2 cannot draw them itself (see `numerics.emulation`).
"""

import faulthandler
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from repflow.hardware.cpu import pin

pin("avx2")
sys.modules["torchmetrics"] = None  # type: ignore[assignment]  # Fabric would import it, a quarter of all the time

import numpy as np  # noqa: E402
import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
from torch import Tensor  # noqa: E402
from torch.optim.optimizer import register_optimizer_step_pre_hook  # noqa: E402

from numerics.digests import digest  # noqa: E402
from numerics.emulation import sort_without_gathers  # noqa: E402
from repflow.data.read.rows import Rows  # noqa: E402
from repflow.encoders import Classifier, Encoder, EncoderConfig, HeadConfig, build_encoder  # noqa: E402
from repflow.encoders.classifier import build_head  # noqa: E402
from repflow.encoders.encoder import normalise_by  # noqa: E402
from repflow.hardware.devices import HardwareConfig, prepare  # noqa: E402
from repflow.methods.registry import find_method  # noqa: E402
from repflow.randomness.draws import seeded  # noqa: E402
from repflow.schema import build  # noqa: E402
from repflow.training import TrainingConfig, train  # noqa: E402
from repflow.training.contract import EncoderMethod, Method  # noqa: E402

SIZE, STEPS, BATCH = 16, 2, 8
Mode = Literal["record", "replay"]
CLASSES = tuple(str(digit) for digit in range(10))
AFFINE = {"op": "affine", "degrees": 15.0, "translation": 0.1, "scale": [0.8, 1.2], "shear": 10.0}
JITTER = {"op": "colour_jitter", "brightness": 0.8, "contrast": 0.8, "saturation": 0.8, "hue": 0.5}
VIEW = [
    AFFINE,
    JITTER,
    {"op": "greyscale", "probability": 0.5},
    {"op": "gaussian_blur"},
    {"op": "cutout", "size": [0.1, 0.4]},
]
STRONG = [{"op": "randaugment", "rounds": 2, "strength": [0.0, 1.0], "fill": 0.0}, {"op": "cutout"}]
SMALL = {"name": "small", "widths": [16, 32]}
ADAM = {"name": "adam", "learning_rate": 3e-4, "momentum": 0.5}
ADAMW = {"name": "adamw", "learning_rate": 2e-3, "weight_decay": 1e-2}
SGD = {"name": "sgd", "learning_rate": 0.01, "momentum": 0.9}

METHODS: dict[str, dict[str, Any]] = {
    "simclr": {"family": "pretext", "settings": {"augment": VIEW, "temperature": 0.2}, "optimizer": ADAMW},
    "fixmatch": {
        "family": "semisup",
        "settings": {"weak": [AFFINE], "strong": STRONG, "threshold": 0.1},
        "optimizer": ADAMW,
        "ema": 0.9,
        "clip": 1.0,
    },
    "dann": {
        "family": "adaptation",
        "settings": {"augment": [AFFINE, JITTER, {"op": "invert"}]},
        "encoder": {"name": "lenet"},
        "head": {"hidden": [32], "dropout": 0.5},
        "optimizer": SGD,
    },
    "masked_autoencoder": {
        "family": "pretext",
        "settings": {"augment": [{"op": "pad_and_crop", "padding": 3}], "width": 48, "layers": 1},
        "encoder": {"name": "vit_tiny", "patch": 8, "layers": 1},
        "optimizer": ADAMW,
    },
    "gan": {"family": "pretext", "settings": {"generator": [32, 16]}, "optimizer": ADAM},
}


class Notes:
    """Writes digests to standard output, each at once, and how long each part took to standard error."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def __call__(self, name: str, *values: Any) -> None:
        """Note the digest of values."""
        print(name, digest(values), flush=True)
        now = time.monotonic()
        print(f"{now - self._last:6.1f} s  {name}", file=sys.stderr, flush=True)
        self._last = now


@contextmanager
def views(title: str, mode: Mode, stored: dict[str, np.ndarray], note: Notes) -> Iterator[None]:
    """For the length of the block, `grid_sample` stores what it makes, or takes what was stored."""
    sample, count = F.grid_sample, 0

    def stand_in(images: Tensor, places: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        nonlocal count
        name, count = f"{title}.view-{count}", count + 1
        asked = f"{digest((images, places))} {args} {kwargs}"
        if mode == "record":
            stored[name], stored[f"{name}-of"] = sample(images, places, *args, **kwargs).numpy(), np.array(asked)
        elif str(stored[f"{name}-of"]) != asked:
            note(f"{name}.coordinates-differ", images, places)
        return torch.from_numpy(stored[name])

    F.grid_sample = stand_in  # type: ignore[assignment]
    try:
        yield
    finally:
        F.grid_sample = sample


def images() -> dict[str, np.ndarray]:
    """96 handwritten digits, uint8 [96, 3, 16, 16], each with a colour, and their labels."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    grey = (digits.images[:96] * 255 / 16).repeat(2, axis=1).repeat(2, axis=2)
    colours = np.random.default_rng(0).uniform(0.3, 1, (len(grey), 3, 1, 1))
    return {"images": (grey[:, None] * colours).astype(np.uint8), "labels": digits.target[:96].astype(np.int64)}


def new(name: str, values: Mapping[str, Any], pixels: np.ndarray) -> Method:
    """A method with random weights."""
    kind, config = find_method(values["family"], name)
    settings: Any = build(config, values["settings"], name)
    with seeded(0, f"weights/{name}"):
        configured: Any = build(EncoderConfig, values.get("encoder", SMALL), name)  # type: ignore[type-var]
        encoder = build_encoder(configured, 3, SIZE)
        normalise_by(encoder, pixels)
        if issubclass(kind, EncoderMethod):
            return kind(settings, encoder)  # type: ignore[no-any-return]
        head = build_head(build(HeadConfig, values.get("head", {}), name), encoder.width, len(CLASSES))
        return kind(settings, Classifier(encoder, head))  # type: ignore[no-any-return]


def steps(name: str, threads: int, mode: Mode, stored: dict[str, np.ndarray], note: Notes) -> Method:
    """Train a method for some steps; note gradients and weights of every update, and the curve."""
    values = METHODS[name]
    method = new(name, values, stored["images"])
    updates = 0
    known = {id(weight): key for key, weight in method.named_parameters()}

    def noted(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        nonlocal updates
        weights = [weight for group in optimizer.param_groups for weight in group["params"]]
        for weight in weights:
            note(f"{title}.update-{updates}.{known[id(weight)]}.weights", weight)
            if weight.grad is not None:
                note(f"{title}.update-{updates}.{known[id(weight)]}.gradient", weight.grad)
        updates += 1

    title = f"{name}.{threads}-threads"
    rows = {stream: _rows(stream, stored, method.reads_target_labels) for stream in method.streams}
    training = {key: values[key] for key in ("optimizer", "ema", "clip") if key in values}
    config = build(TrainingConfig, {"steps": STEPS, "batch_size": BATCH, "log_every": 1, **training}, name)
    handle = register_optimizer_step_pre_hook(noted)
    try:
        fabric = prepare(HardwareConfig(threads=threads), len(method.updates))
        with views(title, mode, stored, note):
            result = train(method, rows, config, fabric, seed=0, title=name)
    finally:
        handle.remove()
    note(f"{title}.curve", *(value for point in result.curve for value in point.values()))
    for key, weight in method.learned.state_dict().items():
        note(f"{title}.trained.{key}", weight)
    return method


def _rows(stream: str, stored: Mapping[str, np.ndarray], reads_target_labels: bool) -> Rows:
    pixels, labels = stored["images"][:64], stored["labels"][:64]
    if stream == "target":
        pixels = 255 - pixels
    if stream == "unlabelled" or (stream == "target" and not reads_target_labels):
        labels = np.full_like(labels, -1)
    return Rows(pixels, labels, np.arange(len(labels)), CLASSES)


def probes(encoder: Encoder, stored: Mapping[str, np.ndarray], note: Notes) -> np.ndarray:
    """What `probe` computes of an encoder: features, neighbours, linear probe, k-means, intervals."""
    from repflow.evaluation.features import encode
    from repflow.evaluation.intervals import resampled_means
    from repflow.evaluation.probes import Features, ProbeConfig, fit_probes, score_probes

    features, labels = encode(encoder, stored["images"]), stored["labels"]
    note("probe.features", features)
    parts = [Features(features[part], labels[part]) for part in (slice(48), slice(48, 64), slice(80), slice(64, 96))]
    fitted = fit_probes(ProbeConfig(), *parts[:3], classes=10, seed=0)
    note("probe.neighbours", fitted.knn.predict(features))
    note("probe.linear", fitted.linear[-1].coef_, fitted.linear[-1].intercept_)
    note("probe.clusters", fitted.clusters.cluster_centers_, fitted.clusters.labels_)
    found = score_probes(fitted, parts[3])
    note("probe.scores", *found.right.values(), *found.clustering.values())
    right = np.stack(list(found.right.values()))
    note("probe.resamples", resampled_means(right, 500, np.random.default_rng(0)))
    return features


def report(classifier: Classifier, features: np.ndarray, stored: Mapping[str, np.ndarray], note: Notes) -> None:
    """What `evaluate` and `report` compute: probabilities, scores, calibration, maps of features."""
    from repflow.evaluation.calibration import reliability
    from repflow.evaluation.classification import scores
    from repflow.evaluation.features import probabilities
    from repflow.stages.reporting.embedding import project

    found = probabilities(classifier, stored["images"])
    note("evaluate.probabilities", found)
    note("evaluate.scores", *scores(found, stored["labels"]).values())
    bins = reliability(found, stored["labels"])
    note("evaluate.calibration", bins.confidence, bins.accuracy, bins.error)
    for method in ("pca", "tsne"):
        note(f"report.{method}", project(features, method, perplexity=10.0, seed=0))  # type: ignore[arg-type]


def main(mode: Mode, file: Path, *only: str) -> None:
    """Run everything, or `only` these methods; write the digests to standard output."""
    faulthandler.enable()
    if mode == "replay":
        sort_without_gathers()
    note = Notes()
    stored = images() if mode == "record" else dict(np.load(file))
    names = only or tuple(METHODS)
    trained = {(name, threads): steps(name, threads, mode, stored, note) for threads in (1, 2) for name in names}
    if mode == "record":
        np.savez(file, **stored)  # type: ignore[arg-type]
    encoder, classifier = trained["simclr", 1].learned, trained["fixmatch", 1].learned
    assert isinstance(encoder, Encoder)
    assert isinstance(classifier, Classifier)
    features = probes(encoder, stored, note)
    report(classifier, features, stored, note)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])  # type: ignore[arg-type]
