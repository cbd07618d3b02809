"""report: metrics, curves and pictures on one page, as Markdown and as HTML."""

from repflow.files import writing
from repflow.hardware.devices import HardwareConfig, use_threads
from repflow.stages import paths
from repflow.stages.parameters import read
from repflow.stages.reporting.compose import compose
from repflow.stages.reporting.facts import gather
from repflow.stages.reporting.page import as_html, as_markdown


def run() -> None:
    """Read what the other stages made; write `reports/report.md`, `reports/report.html` and `reports/pictures/`."""
    use_threads(read("hardware", HardwareConfig).threads)
    report = compose(gather())
    with writing(paths.REPORTS / "pictures", folder=True) as folder:
        for picture in report.pictures:
            (folder / f"{picture.name}.png").write_bytes(picture.png)
    for name, text in (("report.md", as_markdown(report)), ("report.html", as_html(report))):
        with writing(paths.REPORTS / name) as fresh:
            fresh.write_text(text, encoding="utf-8")
