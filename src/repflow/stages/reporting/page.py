"""A report as Markdown and as one self-contained HTML page."""

import base64
import re
from typing import Any

from repflow.stages.reporting.content import Report
from repflow.stages.reporting.style import CLASSES

_PLAIN = re.compile(r"([\\`*_\[\]<>|])")


def as_html(report: Report) -> str:
    """A self-contained HTML page: styles, charts and images are embedded; it needs no network and no script."""
    return render("page.html.j2", report=report, class_colours=CLASSES).replace(
        " %", "\u00a0%"
    )  # no line break between a number and its sign


def as_markdown(report: Report) -> str:
    """A Markdown page, which links to the images in `figures/`."""
    text = render("page.md.j2", report=report)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def render(template: str, **values: Any) -> str:
    """A template of this package, filled with values; HTML is escaped."""
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
    return environment.get_template(template).render(values)


def escaped(text: str) -> str:
    """Text with Markdown's special characters escaped."""
    return _PLAIN.sub(r"\\\1", text)
