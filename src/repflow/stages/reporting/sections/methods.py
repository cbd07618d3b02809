"""The section on methods and metrics: definitions, and the papers of the methods that were used."""

from repflow.stages.reporting.content import Paragraph, Section, Table
from repflow.stages.reporting.results import RunResults


def methods_section(run: RunResults) -> Section:
    """The methods of this run with their papers, and the definitions of the metrics."""
    cards = [("pretraining", run.pretrain), ("fine-tuning", run.finetune)]
    cards += [("adaptation", card) for card in run.adapt.values()]
    rows = [[card.name, role, card.sentence, card.paper] for role, card in cards]
    settings = (
        f"Random seed {run.seed}, encoder {run.encoder}. All numbers come from metrics/ and plots/,"
        " all settings from params.yaml; `dvc repro` reproduces them."
    )
    measures = (
        "Intervals are percentile bootstrap intervals over test images; if two models are compared, the bootstrap is"
        " paired. Share of the domain gap closed: (accuracy − source only) / (train on target − source only). Clusters"
        " come from k-means with as many clusters as classes; ACC uses the best one-to-one matching of clusters to"
        " classes (Hungarian algorithm)."
    )
    return Section(
        "Methods and metrics",
        [Table(["method", "stage", "description", "paper"], rows), Paragraph(measures), Paragraph(settings)],
    )
