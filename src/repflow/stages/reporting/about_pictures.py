"""What the pretraining shows of itself: the sheets of pictures that its stage drew."""

from repflow.stages import paths
from repflow.stages.reporting.content import Block, Figure, Figures, Paragraph
from repflow.stages.reporting.style import Picture
from repflow.stages.sheets import read_sheets


def pretraining_pictures() -> list[Block]:
    """The sheets in `plots/pretrain/`, each with its own caption; nothing where there are none."""
    sheets = read_sheets(paths.PLOTS / "pretrain")
    figures = [
        Figure(Picture(f"pretrain.{sheet.name}", sheet.title, sheet.png, width=sheet.width), sheet.caption)
        for sheet in sheets
    ]
    if not figures:
        return []
    text = "What can be seen of it. Images are those of the validation, which it did not learn from."
    return [Paragraph(text), Figures(figures)]
