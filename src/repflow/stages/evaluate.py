"""The stage `evaluate`: tests every classifier on the test set of each domain.

The only stage besides the baseline `train_on_target` that reads target labels.
"""

import csv
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from repflow.data.read.rows import Domain, Rows, Side
from repflow.encoders.model_files import load_classifier, was_skipped
from repflow.errors import DataError
from repflow.evaluation.calibration import reliability
from repflow.evaluation.classification import Comparison, EvaluateConfig, recalls, scores
from repflow.evaluation.features import probabilities
from repflow.evaluation.intervals import Interval
from repflow.files import writing
from repflow.hardware.devices import HardwareConfig, device_for_inference
from repflow.randomness.seeds import numpy_generator
from repflow.stages import paths
from repflow.stages.names import names_in_words
from repflow.stages.parameters import read, read_raw, seed
from repflow.stages.project import open_project_domain, write_metrics
from repflow.stages.verdict import home, verdicts

LOG = logging.getLogger(__name__)

DOMAINS = ("source", "target")
BASELINE = "baseline"

Probabilities = Mapping[str, Mapping[str, np.ndarray]]
"""Domain to model to predicted probabilities, float64 [N, classes]; the same N rows for all models of a domain."""


def run() -> None:
    """Read all classifiers and the test rows; write `metrics/evaluate.json` and the data of its plots to `plots/`."""
    config = read("evaluate", EvaluateConfig)
    domains = {name: open_project_domain(name) for name in DOMAINS}
    tests = test_rows(domains)
    predictions = predict(models(), tests)
    labels = {name: rows.labels for name, rows in tests.items()}
    groups = {name: domains[name].groups(rows) for name, rows in tests.items()}
    floor, ceiling = (adaptation_named(name) for name in ("source_only", "train_on_target"))
    metrics: dict[str, Any] = {
        "rows": {name: len(rows) for name, rows in tests.items()},
        "groups": {name: len(np.unique(each)) for name, each in groups.items()},
    }
    metrics |= score_models(predictions, labels, groups, config, seed(), floor, ceiling)
    write_metrics(paths.METRICS / "evaluate.json", metrics)
    write_plots(predictions, tests, groups, config.bins)
    for line in verdicts(metrics, names_in_words(predictions["source"])):
        LOG.info("evaluate: %s", line)


def models() -> dict[str, Path]:
    """Name to folder of every classifier of the run, without skipped ones."""
    folders = {BASELINE: paths.MODELS / "baseline", "finetune": paths.MODELS / "finetune"}
    folders |= {name: paths.MODELS / "adapt" / name for name in adaptations()}
    return {name: folder for name, folder in folders.items() if not was_skipped(folder)}


def adaptations() -> dict[str, Any]:
    """The sections below `adapt`, by key."""
    return read_raw("adapt") or {}


def adaptation_named(method: str) -> str | None:
    """The key below `adapt` whose method is `method`, or None."""
    return next((key for key, section in adaptations().items() if section.get("name") == method), None)


def test_rows(domains: Mapping[str, Domain]) -> dict[str, Rows]:
    """The labelled test rows of each domain that has any.

    Raises:
        DataError: the source has none.
    """
    rows = {name: domain.labelled_rows(Side.TEST) for name, domain in domains.items()}
    if not len(rows["source"]):
        raise DataError(
            "evaluate: the source has no test rows with a label; see metrics/split.json, raise `split.test`"
        )
    return {name: each for name, each in rows.items() if len(each)}


def predict(folders: Mapping[str, Path], tests: Mapping[str, Rows]) -> dict[str, dict[str, np.ndarray]]:
    """The predicted probabilities of every model on the test rows of every domain.

    Raises:
        DataError: a model was trained for other classes.
    """
    device = device_for_inference(read("hardware", HardwareConfig))
    predictions: dict[str, dict[str, np.ndarray]] = {domain: {} for domain in tests}
    for name, folder in folders.items():
        classifier, description = load_classifier(folder)
        for domain, rows in tests.items():
            if description.classes != rows.classes:
                raise DataError(f"{folder}: was trained with other classes than those of the split; run `dvc repro`")
            predictions[domain][name] = probabilities(classifier.to(device), rows.images)
    return predictions


def score_models(
    predictions: Probabilities,
    labels: Mapping[str, np.ndarray],
    groups: Mapping[str, np.ndarray],
    config: EvaluateConfig,
    seed: int,
    floor: str | None = None,
    ceiling: str | None = None,
) -> dict[str, Any]:
    """Scores of every model on every domain, and a comparison of the adapted models with the baselines.

    Args:
        predictions: predicted probabilities.
        labels: domain to int64 [N].
        groups: domain to int64 [N]; the bootstrap resamples rows of one group together.
        config: bins and confidence intervals.
        seed: the random seed of the bootstrap.
        floor: the lower baseline, trained on the source only.
        ceiling: the upper baseline, trained on target labels.

    Returns:
        model to domain to scores; for each model but the baseline `over_baseline`, its accuracy on the domain that it
        is for, minus that of the baseline, with `beyond` true if the whole interval is above 0; and for each adapted
        model `gain`, the same over the floor, and `gap_closed`, its share of the gap between floor and ceiling, if
        there is a gap.
    """
    results: dict[str, Any] = {}
    for domain, models in predictions.items():
        right = {name: each.argmax(axis=1) == labels[domain] for name, each in models.items()}
        comparison = Comparison(right, config, numpy_generator(seed, f"bootstrap/{domain}"), groups[domain])
        for name, each in models.items():
            interval = comparison.accuracy(name)
            own = scores(each, labels[domain], config.bins)
            first = {"accuracy": own.pop("accuracy"), "low": interval.low, "high": interval.high}
            results.setdefault(name, {})[domain] = {**first, **own}
            if name != BASELINE and BASELINE in models and domain == home(name):
                over = comparison.difference(name, BASELINE)
                results[name]["over_baseline"] = {**ends(over), "beyond": over.low > 0}
        if domain == "target" and floor is not None and floor in models:
            for name in models:
                if name not in (BASELINE, "finetune", floor):
                    results[name] |= _compare_with_baselines(
                        comparison, name, floor, ceiling if ceiling in models else None
                    )
    return results


def _compare_with_baselines(comparison: Comparison, name: str, floor: str, ceiling: str | None) -> dict[str, Any]:
    """Gain of an adapted model over the floor, and its share of the gap between floor and ceiling."""
    gain = comparison.difference(name, floor)
    standing: dict[str, Any] = {"gain": {**ends(gain), "beyond": gain.low > 0}}
    if ceiling is not None and name != ceiling:
        share = comparison.share_of_gap(name, floor, ceiling)
        if share is not None:
            standing["gap_closed"] = ends(share)
    return standing


def ends(interval: Interval) -> dict[str, float]:
    """An interval as metrics."""
    return {"value": interval.value, "low": interval.low, "high": interval.high}


def write_plots(
    predictions: Probabilities, tests: Mapping[str, Rows], groups: Mapping[str, np.ndarray], bins: int
) -> None:
    """Write the data of the plots.

    `plots/confusion/MODEL.DOMAIN.csv` has one line per test row, with the number of its group, `plots/recall.csv` one
    per model, domain and class, `plots/calibration.csv` one per model, domain and confidence bin.
    """
    recall: list[tuple[Any, ...]] = []
    calibration: list[tuple[Any, ...]] = []
    with writing(paths.PLOTS / "confusion", folder=True) as folder:
        for domain, name in ((domain, name) for domain, models in predictions.items() for name in models):
            labels, classes = tests[domain].labels, tests[domain].classes
            predicted = predictions[domain][name].argmax(axis=1)
            lines = [
                (classes[actual], classes[guess], group)
                for actual, guess, group in zip(labels, predicted, groups[domain], strict=True)
            ]
            _write_table(folder / f"{name}.{domain}.csv", ("actual", "predicted", "group"), lines)
            for label, share in recalls(predicted, labels).items():
                recall.append((name, domain, classes[label], (labels == label).sum(), f"{share:.4f}"))
            binned = reliability(predictions[domain][name], labels, bins)
            for number in np.flatnonzero(binned.rows):
                means = (f"{binned.confidence[number]:.4f}", f"{binned.accuracy[number]:.4f}")
                calibration.append((name, domain, binned.rows[number], *means))
    with writing(paths.PLOTS / "recall.csv") as fresh:
        _write_table(fresh, ("model", "domain", "class", "rows", "recall"), recall)
    with writing(paths.PLOTS / "calibration.csv") as fresh:
        _write_table(fresh, ("model", "domain", "rows", "confidence", "accuracy"), calibration)


def _write_table(path: Path, header: tuple[str, ...], lines: Iterable[tuple[Any, ...]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(lines)
