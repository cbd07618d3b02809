"""What the pretraining shows of itself: the sheets of pictures that its stage drew."""

from repflow.stages import paths
from repflow.stages.image_grids import read_sheets
from repflow.stages.reporting.content import Figure, Figures
from repflow.stages.reporting.style import Picture


def pretraining_pictures() -> Figures:
    """The sheets in `plots/pretrain/`, each with its own caption."""
    sheets = read_sheets(paths.PLOTS / "pretrain")
    return Figures(
        [
            Figure(Picture(f"pretrain.{sheet.name}", sheet.title, sheet.png, width=sheet.width), sheet.caption)
            for sheet in sheets
        ]
    )
