"""Functions of all training stages: read a method's section, build the method, train it, write the results."""

import dataclasses
import json
import logging
import sys
from collections.abc import Mapping
from typing import Any, Literal

import torch
from pydantic import Field
from torch import nn

from repflow import fingerprints
from repflow.data.read.batches import as_float, inference_batch
from repflow.data.read.rows import Rows
from repflow.encoders import Classifier, Encoder, EncoderConfig, HeadConfig
from repflow.encoders.build import forward_flops
from repflow.errors import ParameterError
from repflow.fingerprints import Files
from repflow.hardware.devices import HardwareConfig, prepare
from repflow.methods.registry import FAMILIES, find_method, modules_in
from repflow.randomness.draws import seeded
from repflow.schema import Positive, build, parameters
from repflow.stages import paths
from repflow.stages.parameters import read, read_raw, seed
from repflow.stages.project import write_metrics
from repflow.stages.starting_models import SOURCE_ONLY
from repflow.training import TrainingConfig, TrainingResult, train
from repflow.training.best_weights import Observe, Score
from repflow.training.budget import Budget, budgeted, reason
from repflow.training.checkpoints import CheckpointConfig, CheckpointLocation, Checkpoints, fingerprint
from repflow.training.contract import Method
from repflow.training.cost import Meter
from repflow.training.curves import write_curve

log = logging.getLogger("repflow")


@parameters
class MethodSection:
    """A section of `params.yaml` that configures a method.

    Attributes:
        family: the folder of the method's module.
        name: the name of the method's module.
        settings: the method's own parameters, checked against its `Config`.
        training: settings of the training loop.
        head: the classification head.
        start: initial weights, "pretrained" for the pretrained encoder, "probed" for it with a linear probe as the head
            (Kumar et al. Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution. ICLR 2022;
            for fine-tuning only), "source_only" for the classifier of `adapt@source_only`, with its head (for
            adaptation only), or "random".
        starts_from: of an adaptation, the folder of the model that `start` reads, for dvc.yaml
            (`stages.starting_models`).
        encoder: an encoder that replaces that of the run if `start` is "random"; None for the run's encoder.
    """

    family: str
    name: str
    training: TrainingConfig
    settings: dict[str, Any] = Field(default_factory=dict)
    head: HeadConfig = Field(default_factory=HeadConfig)
    start: Literal["pretrained", "probed", "source_only", "random"] = "pretrained"
    starts_from: str | None = None
    encoder: EncoderConfig | None = None


@parameters
class RuntimeConfig:
    """Settings that may differ between machines without changing a result.

    Attributes:
        memory: maximum size of a domain's images in memory, in GiB; larger ones are memory-mapped.
        checkpoints: how often checkpoints are saved.
    """

    memory: Positive
    checkpoints: CheckpointConfig


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A method's section, read and checked, with everything else that its training depends on.

    Attributes:
        method: its class.
        settings: the method's parameters.
        section: the whole section.
        hardware: what to train on.
        seed: the random seed of the run.
        length: what decides the number of steps, in words.
    """

    method: type[Any]
    settings: Any
    section: MethodSection
    hardware: HardwareConfig
    seed: int
    length: str = "training.steps"

    @property
    def size(self) -> str:
        """How long the training is, and why, in words."""
        training = self.section.training
        if training.steps == 0:
            return f"no steps ({self.length})"
        return f"{training.steps or 0:,} steps of {training.batch_size:,} images ({self.length})"


def read_recipe(section: str, overrides: Mapping[str, Any] | None = None) -> Recipe:
    """Read the method's section at key `section`.

    Args:
        section: as "pretrain" or "adapt.dann".
        overrides: values for keys below the section, with dots between levels, as from a hyperparameter search.

    Raises:
        ParameterError: a key or value is not allowed.
    """
    values = json.loads(json.dumps(read_raw(section)))
    for key, value in (overrides or {}).items():
        *parents, last = key.split(".")
        place = values
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = value
    method, settings, read_section = check_method(values, f"{paths.PARAMETERS}: {section}")
    return Recipe(method, settings, read_section, read("hardware", HardwareConfig), seed())


def check_method(values: Mapping[str, Any], where: str) -> tuple[type[Any], Any, MethodSection]:
    """The method of a section, its settings, and the section, all checked.

    Raises:
        ParameterError: a key or value is not allowed.
    """
    section = build(MethodSection, values, where)
    if section.encoder is not None and section.start != "random":
        model = "encoder of source_only" if section.start == SOURCE_ONLY else "pretrained encoder"
        raise ParameterError(f"{where}.encoder: the {model} cannot be replaced; set start: random, or encoder: null")
    if section.start == SOURCE_ONLY and section.head != HeadConfig():
        raise ParameterError(f"{where}.head: the head of source_only cannot be replaced; set start: random, or no head")
    if FAMILIES.get(section.family) != "adapt" and (section.start == SOURCE_ONLY or section.starts_from is not None):
        key = "start: source_only" if section.start == SOURCE_ONLY else "starts_from"
        raise ParameterError(f"{where}: {key} is for methods of adaptation")
    method, config = find_method(section.family, section.name)
    return method, build(config, section.settings, f"{where}.settings"), section


def with_network(recipe: Recipe, encoder: Any, head: Any) -> Recipe:
    """`recipe` for a model with this `encoder` and `head`, parameters of the network that it starts from."""
    return dataclasses.replace(recipe, section=dataclasses.replace(recipe.section, encoder=encoder, head=head))


def within_budget(recipe: Recipe, part: str, rows: Mapping[str, Rows]) -> Recipe:
    """`recipe` with the number of steps that `budget.PART` gives it, unless it has its own.

    Args:
        recipe: as `read_recipe` returns it.
        part: "pretrain", "finetune" or "adapt".
        rows: the rows of each stream.
    """
    first = rows[recipe.method.streams[0]]
    return within_budget_of(recipe, part, len(first), *first.images.shape[1:3])


def within_budget_of(recipe: Recipe, part: str, images: int, channels: int, size: int) -> Recipe:
    """As `within_budget`, given the number of images of the method's first stream, their channels and their size."""
    given = recipe.section.training
    if given.steps is not None:
        return recipe
    budget = read(f"budget.{part}", Budget)
    flops = forward_flops(recipe.section.encoder or read("encoder", EncoderConfig), channels, size)
    training = budgeted(given, budget, images, flops)
    section = dataclasses.replace(recipe.section, training=training)
    length = f"budget.{part}: {reason(given, budget, images, flops)}"
    return dataclasses.replace(recipe, section=section, length=length)


def fit(
    recipe: Recipe,
    start: Encoder | Classifier,
    rows: Mapping[str, Rows],
    *,
    title: str,
    meter: Meter,
    validation: Rows | None = None,
    observe: Observe | None = None,
    save: bool = True,
) -> tuple[Method, TrainingResult]:
    """Train the recipe's method from `start` on `rows`, with early stopping on `validation`.

    In a distributed training, only the process of rank 0 returns; the others exit.

    Args:
        recipe: the method and its settings.
        start: the initial encoder or classifier.
        rows: the rows of each stream.
        title: the stage, as "pretrain" or "adapt@dann".
        meter: measures the cost.
        validation: the validation rows.
        observe: called after every validation.
        save: save checkpoints, so that an interrupted training can resume.
    """
    with seeded(recipe.seed, "weights/method"):
        method = recipe.method(recipe.settings, start)
    fabric = prepare(recipe.hardware, updates=len(method.updates))
    validate = None
    if validation is not None and len(validation):

        def validate(model: nn.Module) -> Score:
            return Score(accuracy_on(model, validation, fabric.device), len(validation))

    runtime = read("runtime", RuntimeConfig)
    folder = paths.STATE / "checkpoints" / title
    location = CheckpointLocation(folder, training_key(recipe, method, rows)) if save else None
    checkpoints = Checkpoints(location, runtime.checkpoints)
    if fabric.is_global_zero:
        log.info("%s: %s", title, recipe.size)
    trained = train(
        method,
        rows,
        recipe.section.training,
        fabric,
        seed=recipe.seed,
        compile=recipe.hardware.compile,
        title=title,
        validate=validate,
        observe=observe,
        checkpoints=checkpoints,
        meter=meter,
    )
    if not fabric.is_global_zero:
        sys.exit()
    return method, trained


def training_key(recipe: Recipe, method: Method, rows: Mapping[str, Rows]) -> str:
    """A hash of everything that a training depends on: parameters, initial weights, images, labels and code."""
    section = {"family": recipe.section.family, "name": recipe.section.name, "settings": recipe.section.settings}
    code = fingerprints.fingerprint({"repflow.stages.learning", *modules_in(section)}, Files(paths.SOURCE))
    return fingerprint(
        recipe,
        *(value for item in method.state_dict().items() for value in item),
        *(value for name, each in rows.items() for value in (name, each.images, each.labels)),
        code,
    )


def accuracy_on(classifier: nn.Module, rows: Rows, device: torch.device | str = "cpu") -> float:
    """The accuracy of `classifier`, which is in evaluation mode, on `rows`."""
    right = 0
    with torch.no_grad():
        step = inference_batch(rows.images)
        for first in range(0, len(rows), step):
            images = torch.from_numpy(rows.images[first : first + step])
            predicted = classifier(as_float(images.to(device))).argmax(dim=1).cpu().numpy()
            right += int((predicted == rows.labels[first : first + step]).sum())
    return right / len(rows)


def write_training(name: str, trained: TrainingResult, extra: Mapping[str, Any] | None = None) -> None:
    """Write the training curve and the metrics of the stage `name`, as "finetune" or "adapt/dann"."""
    write_curve(paths.PLOTS / "curves" / f"{name}.tsv", trained.curve)
    last = {key: value for key, value in trained.curve[-1].items() if key != "step"} if trained.curve else {}
    metrics: dict[str, Any] = {"steps": trained.steps, "kept_step": trained.best_step, **last}
    metrics |= {"images_seen": trained.images, "flops": trained.flops}
    if trained.best_score is not None:
        metrics["validation"] = trained.best_score
    write_metrics(paths.METRICS / f"{name}.json", {**metrics, **(extra or {})})
