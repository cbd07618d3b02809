"""The stage `select`: the best classifier of a run, or a combination of some, chosen by the source's validation rows.

The candidates are the baseline, the probes, the fine-tuned model and the adapted ones, without those that have seen
target labels. Test rows are read only after the choice, for its scores; so are target labels.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from repflow.data.read.rows import TRAINING, Domain, Rows, Side
from repflow.encoders import Classifier
from repflow.encoders.ensemble import Ensemble
from repflow.encoders.model_files import (
    EnsembleDescription,
    load_classifier,
    read_description,
    save_model,
)
from repflow.errors import DataError
from repflow.evaluation.classification import Comparison, EvaluateConfig, scores
from repflow.evaluation.selection import Choice, SelectConfig, choose
from repflow.files import writing
from repflow.randomness.seeds import numpy_generator
from repflow.stages import paths
from repflow.stages.evaluate import BASELINE, DOMAINS, adaptation_named, adaptations, ends, models, predict, test_rows
from repflow.stages.model_card import model_card
from repflow.stages.parameters import read, seed
from repflow.stages.project import open_project_domain, write_metrics

BEST = "best"
PROBES = ("knn", "linear", "linear_hog")
"""The probes of the frozen encoder, from the simplest to the most complex."""


def run() -> None:
    """Read the classifiers and the rows of both domains; write `models/best/` and `metrics/select.json`."""
    config = read("select", SelectConfig)
    domains = {name: open_project_domain(name) for name in DOMAINS}
    folders = candidates()
    validation = validation_rows(domains["source"])
    predictions = predict(folders, {"source": validation})["source"]
    groups = domains["source"].groups(validation)
    choice = choose(predictions, validation.labels, config, groups, dict.fromkeys(PROBES, "probe"))
    best = paths.MODELS / BEST
    save_choice(best, folders, choice)
    metrics: dict[str, Any] = {
        "chosen": choice.weights,
        "labels": labels_used(domains["source"], choice, validation),
        "rows": {"validation": len(validation)},
        "candidates": {name: _validated(choice, name) for name in folders},
        BEST: {"validation": choice.accuracy, "log_likelihood": choice.log_likelihood},
    }
    add_test_scores(metrics, {**folders, BEST: best}, domains)
    write_metrics(paths.METRICS / "select.json", metrics)
    with writing(best / "README.md") as fresh:
        fresh.write_text(model_card(best, metrics, domains), encoding="utf-8")


def candidates() -> dict[str, Path]:
    """Name to folder of every classifier that may be chosen, from the simplest to the most complex."""
    trained = models()
    probes = {name: paths.MODELS / "probe" / name for name in PROBES}
    found = {BASELINE: trained.pop(BASELINE), **{name: each for name, each in probes.items() if each.is_dir()}}
    oracle = adaptation_named("train_on_target")  # which has read labels of the target
    return found | {name: folder for name, folder in trained.items() if name != oracle}


def validation_rows(source: Domain) -> Rows:
    """The labelled validation rows of the source.

    Raises:
        DataError: there are none.
    """
    rows = source.labelled_rows(Side.VALIDATION)
    if not len(rows):
        raise DataError(
            "select: the source has no validation rows with a label; see metrics/split.json, raise `split.validation`"
        )
    return rows


def labels_used(source: Domain, choice: Choice, validation: Rows) -> dict[str, int]:
    """The number of labels that the chosen classifiers were trained with, and that they were chosen with."""
    adapted = set(choice.weights) & set(adaptations())
    sides = TRAINING if adapted else (Side.LABELLED,)
    return {"training": source.labels_on(*sides), "choosing": len(validation)}


def save_choice(folder: Path, folders: Mapping[str, Path], choice: Choice) -> None:
    """Write the chosen classifier, or the ensemble of several, with their temperatures, to `folder`."""
    descriptions = {
        name: dataclasses.replace(read_description(folders[name]), temperature=choice.temperatures[name])
        for name in choice.weights
    }
    chosen = {"by": "log-likelihood of the source's validation rows", "from": list(folders)}
    classifiers = {name: load_classifier(folders[name])[0] for name in choice.weights}
    if len(choice.weights) == 1:
        (name,) = choice.weights
        provenance = {**descriptions[name].provenance, "chosen": {"model": name, **chosen}}
        save_model(folder, classifiers[name], dataclasses.replace(descriptions[name], provenance=provenance))
        return
    members = tuple(
        dataclasses.replace(each, provenance={**each.provenance, "chosen": {"model": name}})
        for name, each in descriptions.items()
    )
    weights = tuple(choice.weights.values())
    ensemble = Ensemble([each for each in classifiers.values() if isinstance(each, Classifier)], weights)
    save_model(folder, ensemble, EnsembleDescription(members, weights, {"method": "ensemble", "chosen": chosen}))


def add_test_scores(metrics: dict[str, Any], folders: Mapping[str, Path], domains: Mapping[str, Domain]) -> None:
    """Add the scores of the classifiers in `folders`, the chosen one among them, on the test rows to `metrics`.

    On each domain every classifier gets its accuracy with an interval, the chosen one further scores, and `over` its
    paired difference from each candidate.
    """
    config, tests = read("evaluate", EvaluateConfig), test_rows(domains)
    predictions = predict(folders, tests)
    for domain, rows in tests.items():
        right = {name: each.argmax(axis=1) == rows.labels for name, each in predictions[domain].items()}
        groups = domains[domain].groups(rows)
        comparison = Comparison(right, config, numpy_generator(seed(), f"bootstrap/{domain}"), groups)
        metrics["rows"][domain] = len(rows)
        for name in folders:
            interval = comparison.accuracy(name)
            own = {"accuracy": interval.value, "low": interval.low, "high": interval.high}
            if name == BEST:
                metrics[BEST][domain] = own | scores(predictions[domain][name], rows.labels, config.bins)
                continue
            metrics["candidates"][name][domain] = own
            metrics.setdefault("over", {}).setdefault(domain, {})[name] = ends(comparison.difference(BEST, name))


def _validated(choice: Choice, name: str) -> dict[str, Any]:
    return {
        "validation": choice.accuracies[name],
        "log_likelihood": choice.log_likelihoods[name],
        "temperature": choice.temperatures[name],
    }
