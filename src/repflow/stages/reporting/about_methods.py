"""The end of the report: what the words mean, and whose ideas were used."""

from repflow.stages.parameters import read_raw
from repflow.stages.reporting.content import Paragraph, Section, Table
from repflow.stages.reporting.facts import Facts


def methods_section(facts: Facts) -> Section:
    """The methods of this run with their papers, and the measures."""
    cards = [("pretraining", facts.pretrain), ("fine-tuning", facts.finetune)]
    cards += [("adaptation", card) for card in facts.adapt.values()]
    rows = [[card.name, role, card.sentence, card.paper] for role, card in cards]
    settings = (
        f"Seed {facts.seed}, encoder {read_raw('encoder')['name']}. All figures come from the files in metrics/ and"
        " plots/, all settings from params.yaml; `dvc repro` makes them again."
    )
    measures = (
        "Intervals are percentile bootstrap intervals over test images; where two models are compared, both are tested"
        " on the same images in every draw. Share of the domain gap closed: (accuracy − source only) / (train on"
        " target − source only). Clusters come from k-means with as many clusters as classes; ACC matches clusters to"
        " classes one to one as well as possible (Hungarian algorithm)."
    )
    return Section(
        "Methods and measures",
        [Table(["method", "part", "what it does", "source"], rows), Paragraph(measures), Paragraph(settings)],
    )
