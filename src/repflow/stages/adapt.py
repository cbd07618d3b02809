"""The stage `adapt@METHOD`: train a classifier for the target, from source labels and target images."""

from pathlib import Path

from repflow.data.read.rows import TRAINING, pooled
from repflow.encoders.model_files import read_description, save_model, save_skipped
from repflow.stages import paths
from repflow.stages.cost import recorded
from repflow.stages.initial_model import describe, origin_metrics, starting_classifier
from repflow.stages.learning import Recipe, fit, read_recipe, with_network, within_budget, write_training
from repflow.stages.parameters import read_raw
from repflow.stages.project import open_project_domain, write_metrics
from repflow.stages.starting_models import SOURCE_ONLY, check_starting_model, model_of
from repflow.training.curves import write_curve

NOTHING_TO_DO = "there is no target domain, so there is nothing to adapt to"


def run(name: str) -> None:
    """Train the method in section `adapt.NAME`; write `models/adapt/NAME/`, its curve and its metrics.

    All labels of the source's training rows are used; the label budget `split.labels_per_class` applies to fine-tuning
    only. Target labels are given only to the upper baseline, whose `reads_target_labels` is true.
    """
    with recorded(f"adapt/{name}") as meter:
        recipe = adaptation_recipe(name)
        source, target = open_project_domain("source"), open_project_domain("target")
        folder = paths.MODELS / "adapt" / name
        images = target.rows(*TRAINING)
        if not len(images):
            save_skipped(folder, NOTHING_TO_DO)
            write_metrics(paths.METRICS / "adapt" / f"{name}.json", {"skipped": NOTHING_TO_DO})
            write_curve(paths.PLOTS / "curves" / "adapt" / f"{name}.tsv", [])
            return
        rows = {
            "source": source.labelled_rows(*TRAINING),
            "target": target.labelled_rows(*TRAINING) if recipe.method.reads_target_labels else images,
        }
        if recipe.section.start == SOURCE_ONLY:
            start = read_description(Path(model_of(SOURCE_ONLY)))
            recipe = with_network(recipe, start.encoder, start.head)
        recipe = within_budget(recipe, "adapt", rows)
        pool = pooled(source.rows(*TRAINING), images)
        classifier, description = starting_classifier(recipe, describe(recipe, source, source.classes), pool.images)
        method, trained = fit(recipe, classifier, rows, title=f"adapt@{name}", meter=meter)
        save_model(folder, method.learned, description)
        write_training(f"adapt/{name}", trained, origin_metrics(description))


def adaptation_recipe(name: str) -> Recipe:
    """Read the section `adapt.NAME`.

    Raises:
        ParameterError: a key or value is not allowed, or the model that it starts from will not be there.
    """
    recipe = read_recipe(f"adapt.{name}")
    check_starting_model(read_raw("adapt"), name, f"{paths.PARAMETERS}: adapt")
    return recipe
