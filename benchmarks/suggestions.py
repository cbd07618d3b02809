"""What `repflow suggest` is worth: `python benchmarks/suggestions.py DATA --json RECORD.json`.

DATA is a folder with mnist/ and cifar10.tar.xz; its records are records/suggestions.*.json. From 10 labels a class,
drawn at random, as many again are chosen at once: by the suggestions of a classifier trained on the first ones, and
at random from them. The classifier is logistic regression on frozen features: histograms of oriented gradients, and
SimCLR trained here with the leaderboard's settings. The record has the accuracy on the test images for every seed, and
the mean paired difference with its 95 % interval (Student's t over seeds; the random choice of a seed is the mean of
several draws).

`--rows validation` scores the validation images instead, with seeds of their own: settings are chosen there.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from repflow.hardware.cpu import pin

pin("avx2")  # before NumPy and PyTorch are imported

import numpy as np  # noqa: E402
import torch  # noqa: E402
import yaml  # noqa: E402
from scipy.stats import t as student  # noqa: E402

from repflow.data.ingest.ingestion import DataConfig, ingest  # noqa: E402
from repflow.data.read.rows import TRAINING, Domain, Side  # noqa: E402
from repflow.data.splits import SplitConfig, make_splits  # noqa: E402
from repflow.data.store import open_store  # noqa: E402
from repflow.encoders import Encoder, build_encoder  # noqa: E402
from repflow.encoders.classical import HOGConfig  # noqa: E402
from repflow.evaluation.features import encode  # noqa: E402
from repflow.evaluation.label_suggestions import suggest, uncertainty  # noqa: E402
from repflow.evaluation.linear_probe import LinearConfig, fit_linear_probe  # noqa: E402
from repflow.hardware.devices import use_threads  # noqa: E402
from repflow.randomness.seeds import numpy_generator  # noqa: E402
from repflow.schema import build  # noqa: E402
from repflow.training.cost import Meter  # noqa: E402
from speed.machine import known  # noqa: E402
from zoo import HERE as ZOO  # noqa: E402
from zoo.learn import learn  # noqa: E402

DATA = ("mnist", "cifar10")
FEATURES = ("hog", "simclr")
LABELS = 10
"""Labels a class before; on average as many after."""
DRAWS = 3
"""Random choices of each seed, whose accuracies are averaged."""
_CHOSEN_ON = 100
"""Seeds from here on belong to the choice of settings."""

Choice = Callable[[np.ndarray, np.ndarray, np.ndarray, int, int], np.ndarray]
"""From unlabelled features, probabilities, labelled features, a number and a seed to positions."""


def main(arguments: Sequence[str]) -> int:
    """Measure, and write the record after every data set."""
    options = parser().parse_args(arguments)
    use_threads(1)
    record: dict[str, Any] = {
        "machine": known(("torch", "numpy", "scikit-learn")),
        "settings": {name: getattr(options, name) for name in ("seeds", "rows", "steps")} | {"labels": LABELS},
        "data": {},
    }
    with tempfile.TemporaryDirectory() as scratch:
        for name in options.only:
            for kind in options.features:
                found = features_of(kind, name, options.data, options.work or Path(scratch), options.steps)
                scored = compare(found, options.seeds, options.rows)
                record["data"].setdefault(name, {})[kind] = scored
                if options.json:
                    options.json.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
                print(line(f"{name}, {kind}", scored), flush=True)
    return 0


def domain_of(name: str, data: Path, work: Path) -> Domain:
    """The images of a data set with the leaderboard's split, all training labels given."""
    values = yaml.safe_load((ZOO / name / "params.yaml").read_text(encoding="utf-8"))
    config = build(DataConfig, values["data"], f"zoo/{name}/params.yaml: data")
    folder = work / name / "store"
    if not folder.exists():
        ingest(config, "source", values["seed"], data, folder)
    store = open_store(folder)
    split = build(SplitConfig, values["split"] | {"labels_per_class": None}, "split")
    manifests = {"source": store.readable, "target": store.readable.iloc[:0]}
    return Domain("source", store, make_splits(manifests, store.classes, split, 0)["source"], store.classes)


def features_of(kind: str, name: str, data: Path, work: Path, steps: int) -> dict[str, np.ndarray]:
    """Features and labels of the training, validation and test images of a data set."""
    file = work / name / (f"simclr-{steps}.npz" if kind == "simclr" else f"{kind}.npz")
    if not file.exists():
        domain = domain_of(name, data, work)
        encoder = hog(domain) if kind == "hog" else simclr(name, domain, steps)
        np.savez(file, **encoded(domain, encoder))  # type: ignore[arg-type]
    with np.load(file) as saved:
        return dict(saved)


def hog(domain: Domain) -> Encoder:
    """Histograms of oriented gradients, as in the stage `baseline`."""
    channels, size = domain.store.images.shape[1:3]
    encoder = build_encoder(HOGConfig(), channels, size).eval()
    encoder.set_normalisation(torch.zeros(channels), torch.ones(channels))
    return encoder


def simclr(name: str, domain: Domain, steps: int) -> Encoder:
    """The small encoder after so many steps of SimCLR on the training images."""
    values = yaml.safe_load((ZOO / "settings" / name / "simclr.yaml").read_text(encoding="utf-8"))["method"]
    values["training"]["steps"] = steps
    return learn(values, domain, "simclr", 0, Meter())[0]


def encoded(domain: Domain, encoder: Encoder) -> dict[str, np.ndarray]:
    """Features and labels of every part of the split."""
    parts = {"train": TRAINING, "validation": (Side.VALIDATION,), "test": (Side.TEST,)}
    rows = {part: domain.labelled_rows(*sides) for part, sides in parts.items()}
    features = {f"{part}_features": encode(encoder, each.images) for part, each in rows.items()}
    return features | {f"{part}_labels": each.labels for part, each in rows.items()}


def suggested(
    features: np.ndarray, probabilities: np.ndarray, labelled: np.ndarray, count: int, seed: int
) -> np.ndarray:
    """What `repflow suggest` chooses."""
    return suggest(features, probabilities, labelled, count, seed).rows


def covering(
    features: np.ndarray, probabilities: np.ndarray, labelled: np.ndarray, count: int, seed: int
) -> np.ndarray:
    """The same without the uncertainty: coverage alone."""
    return suggest(features, np.full_like(probabilities, 1 / probabilities.shape[1]), labelled, count, seed).rows


def uncertain(
    features: np.ndarray, probabilities: np.ndarray, labelled: np.ndarray, count: int, seed: int
) -> np.ndarray:
    """The rows with the smallest margin: uncertainty alone."""
    return np.argsort(-uncertainty(probabilities), kind="stable")[:count]


CHOICES: Mapping[str, Choice] = {"suggested": suggested, "coverage": covering, "uncertainty": uncertain}


def compare(data: Mapping[str, np.ndarray], seeds: int, rows: str) -> dict[str, Any]:
    """Accuracies of every seed, and paired differences from the random choice."""
    first_seed = _CHOSEN_ON if rows == "validation" else 0
    each = [one_seed(data, seed, rows) for seed in range(first_seed, first_seed + seeds)]
    accuracy = {name: [found[name] for found in each] for name in each[0]}
    differences = {name: difference(accuracy[name], accuracy["random"]) for name in CHOICES}
    return {"accuracy": accuracy, "over_random": differences}


def one_seed(data: Mapping[str, np.ndarray], seed: int, rows: str) -> dict[str, float]:
    """Accuracy with the first labels, and with as many more by each choice."""
    features, labels = data["train_features"], data["train_labels"]
    classes = np.unique(labels)
    order = numpy_generator(seed, "suggestions/labelled").permutation(len(labels))
    labelled = np.concatenate([order[labels[order] == label][:LABELS] for label in classes])
    pool = np.setdiff1d(np.arange(len(labels)), labelled)
    count = LABELS * len(classes)

    def score(chosen: np.ndarray) -> float:
        known = np.concatenate([labelled, chosen])
        return float(fit(features[known], labels[known]).score(data[f"{rows}_features"], data[f"{rows}_labels"]))

    probabilities = fit(features[labelled], labels[labelled]).predict_proba(features[pool])
    chosen = {
        name: pool[choice(features[pool], probabilities, features[labelled], count, seed)]
        for name, choice in CHOICES.items()
    }
    assert all(len(each) == count for each in chosen.values())
    draws = [numpy_generator(seed, f"suggestions/random/{draw}").permutation(pool)[:count] for draw in range(DRAWS)]
    found = {"before": score(np.empty(0, np.int64)), "random": float(np.mean([score(draw) for draw in draws]))}
    return found | {name: score(each) for name, each in chosen.items()}


def fit(features: np.ndarray, labels: np.ndarray) -> Any:
    """The linear probe, without validation images."""
    nothing = np.empty((0, features.shape[1]), np.float32), np.empty(0, np.int64)
    return fit_linear_probe(LinearConfig(), features, labels, *nothing)


def difference(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, float]:
    """The mean paired difference and its 95 % interval by Student's t over seeds."""
    differences = np.subtract(ours, theirs)
    mean, count = float(differences.mean()), len(differences)
    error = float(differences.std(ddof=1)) / count**0.5 if count > 1 else float("inf")
    half = float(student.ppf(0.975, count - 1)) * error if count > 1 else float("inf")
    return {"mean": mean, "low": mean - half, "high": mean + half}


def line(name: str, scored: Mapping[str, Any]) -> str:
    """A line of a Markdown table: accuracies before and after, and differences from the random choice, in per cent."""
    before, random = (100 * float(np.mean(scored["accuracy"][each])) for each in ("before", "random"))
    cells = [name, f"{before:.1f}", f"{random:.1f}"]
    for choice, over in scored["over_random"].items():
        mean = 100 * float(np.mean(scored["accuracy"][choice]))
        gain, low, high = (f"{100 * over[each]:+.1f}".replace("-", "−") for each in ("mean", "low", "high"))
        cells.append(f"{choice} {mean:.1f}: {gain} ({low} to {high})")
    return f"| {' | '.join(cells)} |"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    made.add_argument("data", type=Path, help="folder with mnist/ and cifar10.tar.xz")
    made.add_argument("--only", nargs="+", choices=DATA, default=list(DATA), help="data sets; default: all")
    made.add_argument("--features", nargs="+", choices=FEATURES, default=list(FEATURES), help="default: both")
    made.add_argument("--seeds", type=int, default=5, help="default: 5")
    made.add_argument("--steps", type=int, default=500, help="of SimCLR, 128 images each (default: 500)")
    made.add_argument("--rows", choices=("test", "validation"), default="test", help="images that are scored")
    made.add_argument("--work", type=Path, help="folder that keeps stores and features (default: a temporary one)")
    made.add_argument("--json", type=Path, help="file to write the record to")
    return made


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
