"""The stage `pretrain`: train an encoder on images without labels."""

from repflow.data.read.rows import TRAINING, Side, pooled
from repflow.encoders.model_files import save_model
from repflow.evaluation.generation import generation_scores
from repflow.evaluation.image_grids import image_grids
from repflow.stages import paths
from repflow.stages.cost import recorded
from repflow.stages.image_grids import write_image_grids
from repflow.stages.initial_model import describe, new_encoder, origin_metrics
from repflow.stages.learning import fit, read_recipe, within_budget, write_training
from repflow.stages.project import open_project_domain


def run() -> None:
    """Read the training images of both domains; write `models/pretrain/`, its training curve, metrics and image grids.

    The image grids show validation images of both domains, which were not used for training.
    """
    with recorded("pretrain") as meter:
        recipe = read_recipe("pretrain")
        source, target = open_project_domain("source"), open_project_domain("target")
        rows = pooled(source.rows(*TRAINING), target.rows(*TRAINING))
        recipe = within_budget(recipe, "pretrain", {"unlabelled": rows})
        encoder, description = new_encoder(recipe, describe(recipe, source), rows.images)
        method, trained = fit(recipe, encoder, {"unlabelled": rows}, title="pretrain", meter=meter)
        save_model(paths.MODELS / "pretrain", method.learned, description)
        method.float()  # single precision like the images, whatever precision training used
        scores = generation_scores(method, rows.images, recipe.seed)
        write_training("pretrain", trained, {"images": len(rows), **scores, **origin_metrics(description)})
        held_out = pooled(source.rows(Side.VALIDATION), target.rows(Side.VALIDATION))
        write_image_grids(paths.PLOTS / "pretrain", image_grids(method, held_out.images, recipe.seed))
