"""The stage `report`: metrics, training curves and figures on one page, as Markdown and as HTML.

It is the last stage of the graph, so its last lines say what came of the run.
"""

import logging

from repflow.files import writing
from repflow.hardware.devices import HardwareConfig, use_threads
from repflow.stages import paths
from repflow.stages.parameters import read
from repflow.stages.reporting.compose import compose
from repflow.stages.reporting.page import as_html, as_markdown
from repflow.stages.reporting.results import read_results
from repflow.stages.reporting.sections.best import concluded

LOG = logging.getLogger(__name__)


def run() -> None:
    """Read the results of the other stages; write `reports/report.md`, `reports/report.html` and `reports/figures/`."""
    use_threads(read("hardware", HardwareConfig).threads)
    results = read_results()
    report = compose(results)
    with writing(paths.REPORTS / "figures", folder=True) as folder:
        for graphic in report.graphics:
            (folder / f"{graphic.name}.png").write_bytes(graphic.png)
    for name, text in (("report.md", as_markdown(report)), ("report.html", as_html(report))):
        with writing(paths.REPORTS / name) as fresh:
            fresh.write_text(text, encoding="utf-8")
    for line in concluded(results):
        LOG.info("report: %s", line)
    LOG.info("report: Everything else is on one page: %s", paths.REPORTS / "report.html")
