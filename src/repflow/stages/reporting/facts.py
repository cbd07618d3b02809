"""What the stages before the report left behind, read once."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from repflow.data.read.rows import Domain
from repflow.encoders.model_files import was_skipped
from repflow.stages import paths
from repflow.stages.parameters import read, read_raw, seed
from repflow.stages.project import open_project_domain
from repflow.stages.reporting.config import ReportConfig
from repflow.stages.reporting.methods import MethodCard, read_card, told_apart

FLOOR = "adaptation.source_only"
CEILING = "adaptation.train_on_target"


@dataclass(frozen=True)
class Facts:
    """A run as its files tell it.

    Attributes:
        config: of the report.
        seed: of the run.
        source: the source; its labels may be shown.
        target: the target; its labels are not read.
        pretrain: the method of the pretraining.
        finetune: the method of the fine-tuning.
        adapt: methods of the adaptation by their keys, without those that had nothing to do.
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
        """Whether there is a second domain."""
        return len(self.target.store.images) > 0

    @property
    def models(self) -> dict[str, MethodCard]:
        """Every classifier."""
        return {"finetune": self.finetune, **self.adapt}

    @cached_property
    def evaluation(self) -> dict[str, Any]:
        """`metrics/evaluate.json`."""
        return metrics("evaluate")

    def scores(self, model: str, domain: str) -> dict[str, float]:
        """The scores of `model` on the test of `domain`; empty where there was none."""
        found: dict[str, float] = self.evaluation[model].get(domain, {})
        return found

    @property
    def floor(self) -> str | None:
        """The key of the adaptation that saw the source only."""
        return next((key for key, card in self.adapt.items() if card.method == FLOOR), None)

    @property
    def ceiling(self) -> str | None:
        """The key of the adaptation that saw the target's labels."""
        return next((key for key, card in self.adapt.items() if card.method == CEILING), None)

    @property
    def adapted(self) -> list[str]:
        """The keys of the adaptations between floor and ceiling."""
        return [key for key in self.adapt if key not in (self.floor, self.ceiling)]


def gather() -> Facts:
    """Read the parameters, both domains and what the models say of themselves."""
    folders = {key: paths.MODELS / "adapt" / key for key in read_raw("adapt") or {}}
    return Facts(
        config=read("report", ReportConfig),
        seed=seed(),
        source=open_project_domain("source"),
        target=open_project_domain("target"),
        pretrain=read_card(paths.MODELS / "pretrain"),
        finetune=read_card(paths.MODELS / "finetune"),
        adapt=told_apart({key: read_card(folder) for key, folder in folders.items() if not was_skipped(folder)}),
    )


def metrics(name: str) -> dict[str, Any]:
    """`metrics/NAME.json`, empty where there is none."""
    path: Path = paths.METRICS / f"{name}.json"
    if not path.is_file():
        return {}
    values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return values
