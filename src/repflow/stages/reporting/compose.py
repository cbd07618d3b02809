"""From the facts of a run to its report."""

from repflow.stages.parameters import read_raw
from repflow.stages.reporting.about_adaptation import adaptation_section
from repflow.stages.reporting.about_cost import cost_section
from repflow.stages.reporting.about_data import augmentation_section, images_section
from repflow.stages.reporting.about_evaluation import errors_section, headlines, test_section
from repflow.stages.reporting.about_learning import finetuning_section, pretraining_section
from repflow.stages.reporting.about_methods import methods_section
from repflow.stages.reporting.content import Block, Figures, Report, Section, Table
from repflow.stages.reporting.facts import Facts
from repflow.stages.reporting.style import drawing


def compose(facts: Facts) -> Report:
    """All sections, with their pictures drawn."""
    with drawing():
        sections: list[Section] = [
            images_section(facts),
            augmentation_section(facts),
            pretraining_section(facts),
            finetuning_section(facts),
            test_section(facts),
            adaptation_section(facts),
            errors_section(facts),
            cost_section(facts),
            methods_section(facts),
        ]
    shown = [section for section in map(_without_gaps, sections) if section.blocks]
    return Report(facts.config.title, _summary(facts), headlines(facts), shown)


def _without_gaps(section: Section) -> Section:
    """The section without tables that have no rows and rows of figures that have none."""

    def has_something(block: Block) -> bool:
        match block:
            case Table():
                return bool(block.rows)
            case Figures():
                return bool(block.figures)
        return True

    return Section(section.title, [block for block in section.blocks if has_something(block)])


def _summary(facts: Facts) -> str:
    """One sentence on what the run did."""
    source, target = (read_raw("data")[name]["kind"] for name in ("source", "target"))
    images = f"{len(facts.source.store.images):,} source images ({source})"
    if facts.has_target:
        images += f" and {len(facts.target.store.images):,} target images ({target})"
    return (
        f"{images} in {len(facts.source.classes)} classes. Pretrained by {facts.pretrain.inside}, fine-tuned by"
        f" {facts.finetune.inside}, with a {read_raw('encoder')['name'].replace('_', ' ')} encoder."
    )
