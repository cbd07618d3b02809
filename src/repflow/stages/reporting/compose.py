"""Builds the report from the results of a run."""

from repflow.stages.parameters import read_raw
from repflow.stages.reporting.content import Block, Figures, Report, Section, Table
from repflow.stages.reporting.results import RunResults
from repflow.stages.reporting.sections.adaptation import adaptation_section
from repflow.stages.reporting.sections.best import best_headline, best_section
from repflow.stages.reporting.sections.cost import cost_section
from repflow.stages.reporting.sections.data import augmentation_section, images_section
from repflow.stages.reporting.sections.evaluation import errors_section, headlines, test_section
from repflow.stages.reporting.sections.methods import methods_section
from repflow.stages.reporting.sections.training import finetuning_section, pretraining_section
from repflow.stages.reporting.style import report_style


def compose(run: RunResults) -> Report:
    """The report with all sections and figures."""
    with report_style():
        sections: list[Section] = [
            best_section(run),
            images_section(run),
            augmentation_section(run),
            pretraining_section(run),
            finetuning_section(run),
            test_section(run),
            adaptation_section(run),
            errors_section(run),
            cost_section(run),
            methods_section(run),
        ]
    shown = [section for section in map(_without_empty_blocks, sections) if section.blocks]
    return Report(run.config.title, _summary(run), [*best_headline(run), *headlines(run)], shown)


def _without_empty_blocks(section: Section) -> Section:
    """The section without empty tables and empty groups of figures."""

    def has_something(block: Block) -> bool:
        match block:
            case Table():
                return bool(block.rows)
            case Figures():
                return bool(block.figures)
        return True

    return Section(section.title, [block for block in section.blocks if has_something(block)])


def _summary(run: RunResults) -> str:
    """A summary of the data and methods of the run."""
    source, target = (read_raw("data")[name]["kind"] for name in ("source", "target"))
    images = f"{len(run.source.store.images):,} source images ({source})"
    if run.has_target:
        images += f" and {len(run.target.store.images):,} target images ({target})"
    trained = f"Pretrained with {run.pretrain.name_in_sentence}" if run.pretrained else "Not pretrained here"
    return (
        f"{images} in {len(run.source.classes)} classes. {trained}, fine-tuned with {run.finetune.name_in_sentence};"
        f" encoder: {run.encoder}."
    )
