"""The image grids that the stage `pretrain` wrote, such as reconstructions, samples and filters."""

from repflow.stages import paths
from repflow.stages.image_grids import read_image_grids
from repflow.stages.reporting.content import Figure, Figures
from repflow.stages.reporting.style import Graphic


def pretraining_figures() -> Figures:
    """The image grids in `plots/pretrain/`, each with its caption."""
    grids = read_image_grids(paths.PLOTS / "pretrain")
    return Figures(
        [
            Figure(Graphic(f"pretrain.{grid.name}", grid.title, grid.png, width=grid.width), grid.caption)
            for grid in grids
        ]
    )
