"""The stage `adapt@METHOD`: train a classifier for the target, from source labels and target images."""

from repflow.data.read.rows import TRAINING, pooled
from repflow.encoders.model_files import save_model, save_skipped
from repflow.stages import paths
from repflow.stages.cost import recorded
from repflow.stages.initial_model import describe, origin_metrics, starting_classifier
from repflow.stages.learning import fit, read_recipe, within_budget, write_training
from repflow.stages.project import open_project_domain, write_metrics
from repflow.training.curves import write_curve

NOTHING_TO_DO = "there is no target domain, so there is nothing to adapt to"


def run(name: str) -> None:
    """Train the method in section `adapt.NAME`; write `models/adapt/NAME/`, its curve and its metrics.

    All labels of the source's training rows are used; the label budget `split.labels_per_class` applies to fine-tuning
    only. Target labels are given only to the upper baseline, whose `reads_target_labels` is true.
    """
    with recorded(f"adapt/{name}") as meter:
        recipe = read_recipe(f"adapt.{name}")
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
        recipe = within_budget(recipe, "adapt", rows)
        pool = pooled(source.rows(*TRAINING), images)
        classifier, description = starting_classifier(recipe, describe(recipe, source, source.classes), pool.images)
        method, trained = fit(recipe, classifier, rows, title=f"adapt@{name}", meter=meter)
        save_model(folder, method.learned, description)
        write_training(f"adapt/{name}", trained, origin_metrics(description))
