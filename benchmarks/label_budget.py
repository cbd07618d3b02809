"""How many labels to choose by, and how many to train with: `python benchmarks/label_budget.py STORE... --json FILE`.

Where a person has a few labels of each class, those of the validation rows are among them. For each number of labels a
class, this chooses among the classifiers of the stage `baseline` (features and regularisation) on a share of them, or
by cross-validation, and tests what was chosen on the test rows, for many random draws of the labels. "kept" is the
classifier that was fitted without the validation rows, "refitted" the same choice, fitted with them, too. A STORE is
what `ingest` makes, with a given test set: of the leaderboard's, after `dvc repro prepare` in benchmarks/zoo,
`benchmarks/zoo/cifar10/data/stores/source`.
"""

import argparse
import json
import math
import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from repflow.hardware.cpu import pin

pin("avx2")  # before PyTorch and numpy are imported

import numpy as np  # noqa: E402
import torch  # noqa: E402
from sklearn.exceptions import ConvergenceWarning  # noqa: E402
from sklearn.linear_model import LogisticRegression  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402

from repflow.data.store import Store, open_store  # noqa: E402
from repflow.encoders import build_encoder  # noqa: E402
from repflow.evaluation.baseline import BaselineConfig  # noqa: E402
from repflow.evaluation.features import encode  # noqa: E402
from repflow.randomness.seeds import numpy_generator  # noqa: E402
from speed import machine, records  # noqa: E402

SHARES = (0.1, 0.2, 0.3, 0.5)
"""Shares of the labels that are given to validation, at least one label of each class; and one label alone."""
FOLDS = 5
"""Folds of the cross-validation, or as many as there are labels of a class."""
STRENGTHS = (0.001, 0.01, 0.1, 1.0, 10.0)
"""The regularisation of conf/baseline/default.yaml."""
ITERATIONS = 300
BEYOND = "all beside 100 more labels"
"""The reference: every label trains, and 100 more of each class choose, as where validation is beyond the budget."""
CROSS = "cross-validation"

Choice = tuple[str, float]
"""Name of the features, and strength of the regularisation."""
Fit = tuple[StandardScaler, np.ndarray, LogisticRegression]
"""Standardisation, axes [width, N] of the space that the rows span, and the regression there."""


@dataclass(frozen=True)
class Images:
    """The images of a data set as features.

    Attributes:
        features: name of the features to float32 [N, width].
        labels: int64 [N].
        pool: rows that labels are drawn from.
        test: rows to test with.
    """

    features: Mapping[str, np.ndarray]
    labels: np.ndarray
    pool: np.ndarray
    test: np.ndarray


def main(arguments: Sequence[str]) -> None:
    """Measure every data set, number of labels and draw; print the tables and write the record."""
    options = parser().parse_args(arguments)
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", category=ConvergenceWarning)  # as many iterations as the stage has
    record: dict[str, Any] = {
        "command": records.command_line("label_budget.py", arguments),
        "machine": machine.known(("torch", "scikit-learn")),
        "classes": options.classes,
        "seeds": options.seeds,
        "data": {},
    }
    for path in options.stores:
        images = features_of(open_store(path), options.pool, options.test)
        name = path.resolve().parents[2].name
        record["data"][name] = measured = {}
        for budget in options.labels:
            draws = [drawn(images, budget, options.classes, seed) for seed in range(options.seeds)]
            measured[str(budget)] = summary(draws)
            print(f"{name}, {budget} labels a class:\n{table(measured[str(budget)])}", flush=True)
            if options.json:
                options.json.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    found.add_argument("stores", type=Path, nargs="+", help="folders of stores, FOLDER/data/stores/source")
    found.add_argument("--labels", type=int, nargs="+", default=[5, 10, 20, 40], help="labels a class")
    found.add_argument("--classes", type=int, default=10, help="classes, drawn anew for every seed")
    found.add_argument("--seeds", type=int, default=20, help="random draws of the labels")
    found.add_argument("--pool", type=int, default=400, help="images a class that labels are drawn from")
    found.add_argument("--test", type=int, default=5000, help="test images")
    found.add_argument("--json", type=Path, help="file to write the record to")
    return found


def features_of(store: Store, pool: int, test: int) -> Images:
    """The features of some images of a store, `pool` training images of each class and `test` test images."""
    rows = store.readable
    position = {name: number for number, name in enumerate(store.classes)}
    labels = rows["given_class"].map(position).to_numpy(np.int64)
    order = numpy_generator(0, "label_budget/images").permutation(len(labels))
    testing = (rows["split"] == "test").to_numpy(bool)
    training = order[~testing[order]]
    chosen = np.concatenate([training[labels[training] == label][:pool] for label in range(len(position))])
    tested = order[testing[order]][:test]
    kept = np.concatenate([chosen, tested])
    images = store.images[np.sort(kept)][np.argsort(np.argsort(kept))]
    channels, size = images.shape[1:3]
    found: dict[str, np.ndarray] = {}
    for config in BaselineConfig().features:
        encoder = build_encoder(config, channels, size).eval()
        encoder.set_normalisation(torch.zeros(channels), torch.ones(channels))
        found[config.name] = encode(encoder, images)
    return Images(found, labels[kept], np.arange(len(chosen)), np.arange(len(chosen), len(kept)))


def drawn(images: Images, budget: int, classes: int, seed: int) -> dict[str, float]:
    """Test accuracy by name of the rule, for one draw of `budget` labels of each class."""
    generator = numpy_generator(seed, "label_budget/draw")
    among = generator.permutation(np.unique(images.labels))[:classes]
    order = generator.permutation(images.pool)
    by_class = [order[images.labels[order] == label] for label in among]
    labels = np.concatenate([each[:budget] for each in by_class])
    place = np.concatenate([np.arange(budget)] * len(by_class))  # of each label within its class
    more = np.concatenate([each[budget : budget + 100] for each in by_class])
    test = images.test[np.isin(images.labels[images.test], among)]
    whole = fitted(images, labels)
    refitted = {choice: right(each, images, choice, test) for choice, each in whole.items()}
    found = {}
    for count in sorted({1, *(max(1, round(share * budget)) for share in SHARES)}):
        fits = fitted(images, labels[place >= count])
        best = best_choice(accuracies(fits, images, labels[place < count]))
        found[f"{count} kept"] = right(fits[best], images, best, test)
        found[f"{count} refitted"] = refitted[best]
    folds = min(FOLDS, budget)
    scores = [
        accuracies(fitted(images, labels[place % folds != fold]), images, labels[place % folds == fold])
        for fold in range(folds)
    ]
    found[CROSS] = refitted[best_choice({each: sum(of[each] for of in scores) for each in scores[0]})]
    found[BEYOND] = refitted[best_choice(accuracies(whole, images, more))]
    return found


def accuracies(fits: Mapping[Choice, Fit], images: Images, rows: np.ndarray) -> dict[Choice, float]:
    """Accuracy on `rows` of every choice."""
    return {choice: right(fit, images, choice, rows) for choice, fit in fits.items()}


def best_choice(scores: Mapping[Choice, float]) -> Choice:
    """The first of the best, as the stage `baseline` chooses."""
    return max(scores, key=lambda choice: scores[choice])


def fitted(images: Images, rows: np.ndarray) -> dict[Choice, Fit]:
    """Every choice, fitted on `rows`.

    The minimum of the penalised loss lies in the space that the rows span, so that it is sought there, which is many
    times faster than among thousands of features.
    """
    found: dict[Choice, Fit] = {}
    for name, features in images.features.items():
        scaler = StandardScaler().fit(features[rows])
        left, lengths, axes = np.linalg.svd(scaler.transform(features[rows]), full_matrices=False)
        for strength in STRENGTHS:
            regression = LogisticRegression(C=strength, max_iter=ITERATIONS)
            found[name, strength] = scaler, axes.T, regression.fit(left * lengths, images.labels[rows])
    return found


def right(fit: Fit, images: Images, choice: Choice, rows: np.ndarray) -> float:
    """Accuracy on `rows`."""
    scaler, axes, regression = fit
    inputs = scaler.transform(images.features[choice[0]][rows]) @ axes
    return float(regression.score(inputs, images.labels[rows]))


def summary(draws: Sequence[Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """Rule to mean accuracy over the draws, and the mean difference from the reference, with standard errors."""
    found = {}
    for rule in draws[0]:
        values = np.array([each[rule] for each in draws])
        behind = values - np.array([each[BEYOND] for each in draws])
        found[rule] = {
            "accuracy": round(float(values.mean()), 4),
            "error": round(standard_error(values), 4),
            "behind": round(float(behind.mean()), 4),
            "behind_error": round(standard_error(behind), 4),
        }
    return found


def standard_error(values: np.ndarray) -> float:
    """Of the mean; NaN for a single value."""
    return float(values.std(ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else math.nan


def table(rules: Mapping[str, Mapping[str, float]]) -> str:
    """The rules as lines of text."""
    return "\n".join(
        f"  {rule:28} {each['accuracy']:.4f} ± {each['error']:.4f}   {each['behind']:+.4f} ± {each['behind_error']:.4f}"
        for rule, each in rules.items()
    )


if __name__ == "__main__":
    main(sys.argv[1:])
