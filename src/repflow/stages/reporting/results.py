"""The results of the stages before the report, read once."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from repflow.data.read.rows import Domain
from repflow.encoders.model_files import read_description, was_skipped
from repflow.encoders.pretrained import PretrainedConfig
from repflow.stages import paths
from repflow.stages.method_cards import MethodCard, read_card, with_unique_names
from repflow.stages.parameters import read, read_raw, seed
from repflow.stages.project import open_project_domain
from repflow.stages.reporting.config import ReportConfig

FLOOR = "adaptation.source_only"
CEILING = "adaptation.train_on_target"


@dataclass(frozen=True)
class RunResults:
    """The results of a run.

    Attributes:
        config: the section `report` of the parameters.
        seed: the random seed of the run.
        source: the source domain; its labels may be shown.
        target: the target domain; its labels are not read.
        pretrain: the pretraining method.
        finetune: the fine-tuning method.
        adapt: the adaptation methods by key, without those that were skipped.
    """

    config: ReportConfig
    seed: int
    source: Domain
    target: Domain
    pretrain: MethodCard
    finetune: MethodCard
    adapt: Mapping[str, MethodCard]

    @property
    def has_target(self) -> bool:
        """Whether there is a target domain."""
        return len(self.target.store.images) > 0

    @property
    def models(self) -> dict[str, MethodCard]:
        """The methods of all classifiers, by key."""
        return {"finetune": self.finetune, **self.adapt}

    @cached_property
    def encoder(self) -> str:
        """The encoder in words, with the model's name if it is one of another library."""
        config = read_description(paths.MODELS / "pretrain").encoder
        name: str = config.name.replace("_", " ")
        return f"{name} {config.model}" if isinstance(config, PretrainedConfig) else name

    @cached_property
    def pretrained(self) -> bool:
        """Whether the pretraining had any step; with weights that others trained it may have none."""
        return bool(metrics("pretrain").get("steps", 1))

    @cached_property
    def evaluation(self) -> dict[str, Any]:
        """`metrics/evaluate.json`."""
        return metrics("evaluate")

    @cached_property
    def selection(self) -> dict[str, Any]:
        """`metrics/select.json`; empty if no model was chosen."""
        return metrics("select")

    def scores(self, model: str, domain: str) -> dict[str, float]:
        """The test scores of `model` on `domain`; empty if it was not tested there."""
        found: dict[str, float] = self.evaluation[model].get(domain, {})
        return found

    @property
    def floor(self) -> str | None:
        """The key of the lower baseline, which is trained on the source only; None if it was not run."""
        return next((key for key, card in self.adapt.items() if card.method == FLOOR), None)

    @property
    def ceiling(self) -> str | None:
        """The key of the upper baseline, which is trained on target labels; None if it was not run."""
        return next((key for key, card in self.adapt.items() if card.method == CEILING), None)

    @property
    def adapted(self) -> list[str]:
        """The keys of the adaptation methods, without the two baselines."""
        return [key for key in self.adapt if key not in (self.floor, self.ceiling)]


def read_results() -> RunResults:
    """Read the parameters, both domains and the descriptions of the models."""
    folders = {key: paths.MODELS / "adapt" / key for key in read_raw("adapt") or {}}
    return RunResults(
        config=read("report", ReportConfig),
        seed=seed(),
        source=open_project_domain("source"),
        target=open_project_domain("target"),
        pretrain=read_card(paths.MODELS / "pretrain"),
        finetune=read_card(paths.MODELS / "finetune"),
        adapt=with_unique_names({key: read_card(folder) for key, folder in folders.items() if not was_skipped(folder)}),
    )


def metrics(name: str) -> dict[str, Any]:
    """`metrics/NAME.json`; empty if there is no such file."""
    path: Path = paths.METRICS / f"{name}.json"
    if not path.is_file():
        return {}
    values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return values
