"""The sections on the data and on augmentation."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from repflow.augment.policy import Policy, PolicyConfig
from repflow.data.read.rows import TRAINING, Side
from repflow.randomness.seeds import numpy_generator
from repflow.schema import build
from repflow.stages import paths
from repflow.stages.labels_used import in_words
from repflow.stages.parameters import read_raw
from repflow.stages.reporting.content import Block, Figure, Figures, Paragraph, Section, Table, join_names
from repflow.stages.reporting.grids import augmented_views, grid_graphic, samples_by_class
from repflow.stages.reporting.results import RunResults, metrics

_FIRST = 3
"""How many violations of a rule are listed."""


def images_section(run: RunResults) -> Section:
    """The number of images, samples of them, and the results of the data validation."""
    _, channels, size, _ = run.source.store.images.shape
    classes = run.source.classes
    colours = "colour" if channels == 3 else "grey"
    text = f"Images are stored at {size} × {size} pixels in {colours}."
    text += f" There are {len(classes)} classes: {join_names(classes)}."
    if not run.has_target:
        text += " This run has no target domain."
    blocks: list[Block] = [Paragraph(text), _sides(run), _samples(run), *_checks(run)]
    return Section("Data", blocks)


def _sides(run: RunResults) -> Table:
    """Images of each domain on each side of the split."""
    split = metrics("split")
    sides = [side.value for side in Side if side is not Side.EXCLUDED or any(of[side.value] for of in split.values())]
    rows = []
    for domain in (run.source, run.target) if run.has_target else (run.source,):
        counts = [sum(split[domain.name][side].values()) for side in sides]
        unreadable = int((domain.store.manifest["index"] < 0).sum())
        rows.append(
            [domain.name, f"{len(domain.store.images):,}", *(f"{count:,}" for count in counts), str(unreadable)]
        )
    used = in_words(split["source"]["labels"])
    return Table(
        ["domain", "images", *sides, "unreadable"],
        rows,
        f"{used}. The baseline, the probes, the hyperparameter search and the fine-tuning see no others; the adaptation"
        " methods use all labels of the source's training images. Target labels are used only by the baseline that is"
        " trained on them, and for testing. Duplicates and near-duplicates of an image are never on both sides of a"
        " split.",
    )


def _checks(run: RunResults) -> list[Block]:
    """The violations that data validation found; rules without any are only counted."""
    rows, passed, checked = [], 0, 0
    for domain in ("source", "target") if run.has_target else ("source",):
        for rule, found in metrics(f"validate/{domain}").get("rules", {}).items():
            checked += 1
            if not found["count"]:
                passed += 1
                continue
            result = "within limit" if found["passed"] else found["severity"]
            count = f"{found['count']:,} of {found['of']:,}"
            rows.append([rule.replace("_", " "), domain, count, result, ", ".join(found["first"][:_FIRST])])
    if not checked:
        return []
    if not rows:
        return [Paragraph(f"Data validation ran {checked} checks and found no violation.")]
    caption = f"Data validation: {passed} of {checked} checks found no violation; the others are listed."
    return [Table(["check", "domain", "violations", "result", "first violations"], rows, caption)]


def _samples(run: RunResults) -> Figures:
    config = run.config.samples
    rows = run.source.labelled_rows(Side.LABELLED)
    generator = numpy_generator(run.seed, "report/samples/source")
    chosen = samples_by_class(rows.labels, config.classes, min(config.each, _least(rows.labels)), generator)
    shown = [rows.classes[label] for label in rows.labels[chosen[0]]]
    figures = [
        Figure(
            grid_graphic("samples.source", "Labelled images of the source", rows.images[chosen.ravel()], len(shown)),
            f"Source: labelled images, one column per class: {join_names(shown)}.",
        )
    ]
    images = run.target.rows(*TRAINING).images
    if len(images):
        number = len(shown) * len(chosen)
        generator = numpy_generator(run.seed, "report/samples/target")
        images = images[generator.permutation(len(images))[:number]]
        figures.append(
            Figure(
                grid_graphic("samples.target", "Images of the target", images, len(shown)),
                "Target: random images, chosen without their labels. What distinguishes all of them from the source is"
                " the domain gap.",
            )
        )
    return Figures(figures)


def _least(labels: np.ndarray) -> int:
    return int(np.unique(labels, return_counts=True)[1].min())


def augmentation_section(run: RunResults) -> Section:
    """The same images augmented by every policy that has operations."""
    config = run.config.samples
    images = run.source.rows(*TRAINING).images
    generator = numpy_generator(run.seed, "report/augment")
    images = images[generator.permutation(len(images))[: config.augmented]]
    figures = []
    for name, operations in read_raw("augment").items():
        if not operations:
            continue
        policy = Policy(build(PolicyConfig, operations, f"{paths.PARAMETERS}: augment.{name}"))
        views = augmented_views(policy, images, config.views, run.seed, name)
        graphic = grid_graphic(f"augment.{name}", f"Views augmented by the policy {name}", views, 1 + config.views)
        figures.append(Figure(graphic, f"{name}: {', then '.join(_operation_text(each) for each in operations)}."))
    text = (
        "The first column of every grid shows source images, the other columns their augmented views. If the class of a"
        " view can no longer be recognised, the policy is too strong."
    )
    return Section("Augmentation", [Paragraph(text), Figures(figures)] if figures else [])


def _operation_text(operation: Mapping[str, Any]) -> str:
    settings = [f"{key.replace('_', ' ')} {_plain(value)}" for key, value in operation.items() if key != "op"]
    name = str(operation["op"]).replace("_", " ")
    return f"{name} ({', '.join(settings)})" if settings else name


def _plain(value: Any) -> str:
    return " to ".join(f"{each:g}" for each in value) if isinstance(value, list) else f"{value}"
