"""The first sections: which images there are, and what augmentation makes of them."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from repflow.augment.policy import Policy, PolicyConfig
from repflow.data.read.rows import TRAINING, Side
from repflow.randomness.seeds import numpy_generator
from repflow.schema import build
from repflow.stages import paths
from repflow.stages.parameters import read_raw
from repflow.stages.reporting.content import Block, Figure, Figures, Paragraph, Section, Table, listed
from repflow.stages.reporting.facts import Facts, metrics
from repflow.stages.reporting.grids import augmented, grid_picture, samples_by_class

_FIRST = 3
"""How many of the images that broke a rule are named."""


def images_section(facts: Facts) -> Section:
    """How many images there are, what they look like, and what the checks found."""
    _, channels, size, _ = facts.source.store.images.shape
    classes = facts.source.classes
    colours = "colour" if channels == 3 else "grey"
    text = (
        f"Every image is decoded once and kept at {size} × {size} pixels in {colours}. There are {len(classes)}"
        f" classes: {listed(classes)}."
    )
    if not facts.has_target:
        text += " There is no target domain in this run."
    blocks: list[Block] = [Paragraph(text), _sides(facts), _samples(facts), *_checks(facts)]
    return Section("The images", blocks)


def _sides(facts: Facts) -> Table:
    """Images of each domain on each side of the split."""
    split = metrics("split")
    sides = [side.value for side in Side if side is not Side.EXCLUDED or any(of[side.value] for of in split.values())]
    rows = []
    for domain in (facts.source, facts.target) if facts.has_target else (facts.source,):
        counts = [sum(split[domain.name][side].values()) for side in sides]
        unreadable = int((domain.store.manifest["index"] < 0).sum())
        rows.append(
            [domain.name, f"{len(domain.store.images):,}", *(f"{count:,}" for count in counts), str(unreadable)]
        )
    budget = read_raw("split")["labels_per_class"]
    labels = "all labels" if budget is None else f"{budget} labels per class"
    return Table(
        ["domain", "images", *sides, "unreadable"],
        rows,
        f"Probes, search and fine-tuning see {labels} of the source, the adaptation methods all labels of its training"
        " images. Labels of the target are seen by the one method that is trained on them for comparison, and by the"
        " test. Copies and near-copies of an image never stand on two sides.",
    )


def _checks(facts: Facts) -> list[Block]:
    """What the checks found at the door: only what at least one image did not keep."""
    rows, kept, looked = [], 0, 0
    for domain in ("source", "target") if facts.has_target else ("source",):
        for rule, found in metrics(f"validate/{domain}").get("rules", {}).items():
            looked += 1
            if not found["count"]:
                kept += 1
                continue
            verdict = "within bounds" if found["passed"] else found["severity"]
            count = f"{found['count']:,} of {found['of']:,}"
            rows.append([rule.replace("_", " "), domain, count, verdict, ", ".join(found["first"][:_FIRST])])
    if not looked:
        return []
    if not rows:
        return [Paragraph(f"At the door {looked} checks were made; all images kept them all.")]
    caption = f"{kept} of {looked} checks at the door found nothing; these found something that bears a look."
    return [Table(["check", "domain", "found", "verdict", "the first ones"], rows, caption)]


def _samples(facts: Facts) -> Figures:
    config = facts.config.samples
    rows = facts.source.labelled_rows(Side.LABELLED)
    generator = numpy_generator(facts.seed, "report/samples/source")
    chosen = samples_by_class(rows.labels, config.classes, min(config.each, _least(rows.labels)), generator)
    shown = [rows.classes[label] for label in rows.labels[chosen[0]]]
    figures = [
        Figure(
            grid_picture("samples.source", "Labelled images of the source", rows.images[chosen.ravel()], len(shown)),
            f"Source. Labelled images, a column for each class: {listed(shown)}.",
        )
    ]
    images = facts.target.rows(*TRAINING).images
    if len(images):
        number = len(shown) * len(chosen)
        generator = numpy_generator(facts.seed, "report/samples/target")
        images = images[generator.permutation(len(images))[:number]]
        figures.append(
            Figure(
                grid_picture("samples.target", "Images of the target", images, len(shown)),
                "Target. Images drawn at random, without a look at their labels. Look for what differs from the source"
                " in all of them: this is the gap that adaptation has to cross.",
            )
        )
    return Figures(figures)


def _least(labels: np.ndarray) -> int:
    return int(np.unique(labels, return_counts=True)[1].min())


def augmentation_section(facts: Facts) -> Section:
    """What every policy that does something makes of the same images."""
    config = facts.config.samples
    images = facts.source.rows(*TRAINING).images
    generator = numpy_generator(facts.seed, "report/augment")
    images = images[generator.permutation(len(images))[: config.augmented]]
    figures = []
    for name, operations in read_raw("augment").items():
        if not operations:
            continue
        policy = Policy(build(PolicyConfig, operations, f"{paths.PARAMETERS}: augment.{name}"))
        views = augmented(policy, images, config.views, facts.seed, name)
        sheet = grid_picture(f"augment.{name}", f"Views made by the policy {name}", views, 1 + config.views)
        figures.append(Figure(sheet, f"{name}: {', then '.join(_in_words(each) for each in operations)}."))
    text = (
        "In every grid the first column shows source images as they are, the others what a policy made of them. Look"
        " for views whose class you can no longer tell: there the policy is too strong."
    )
    return Section("What augmentation does", [Paragraph(text), Figures(figures)] if figures else [])


def _in_words(operation: Mapping[str, Any]) -> str:
    settings = [f"{key.replace('_', ' ')} {_plain(value)}" for key, value in operation.items() if key != "op"]
    name = str(operation["op"]).replace("_", " ")
    return f"{name} ({', '.join(settings)})" if settings else name


def _plain(value: Any) -> str:
    return " to ".join(f"{each:g}" for each in value) if isinstance(value, list) else f"{value}"
