"""A report as Markdown and as one self-contained HTML page."""

import base64
import re

from repflow.stages.reporting.content import Report
from repflow.stages.reporting.style import CLASSES

_PLAIN = re.compile(r"([\\`*_\[\]<>|])")


def as_html(report: Report) -> str:
    """A self-contained HTML page: styles, charts and images are embedded; it needs no network and no script."""
    return _render("page.html.j2", report).replace(" %", "\u00a0%")  # no line break between a number and its sign


def as_markdown(report: Report) -> str:
    """A Markdown page, which links to the images in `figures/`."""
    text = _render("page.md.j2", report)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def _render(template: str, report: Report) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("repflow.stages.reporting"),
        autoescape=template.endswith(".html.j2"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(md=escaped, base64=lambda data: base64.b64encode(data).decode())
    return environment.get_template(template).render(report=report, class_colours=CLASSES)


def escaped(text: str) -> str:
    """Text with Markdown's special characters escaped."""
    return _PLAIN.sub(r"\\\1", text)
