"""Takes the pictures of the Prefect UI and of the report that the docs show, in headless Chromium.

    make repro                       # so that the report is there, and most of what the run needs is in DVC's cache
    make ui                          # and in another terminal:
    python docs/screenshots.py       # writes docs/*.png; the address of another server can be given

It does what a person would: opens the form of `pipeline`, chooses another pretext method, starts the run, waits for its
end and opens its metrics. The tests in a browser take the same steps.
"""

import argparse
import io
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

PROJECT = Path(__file__).absolute().parents[1]
DOCS = PROJECT / "docs"
REPORT = PROJECT / "reports/report.html"

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # no page gets anything from elsewhere
)
_PATIENCE = 60_000
"""Milliseconds that a page may take to show something."""
_LONGEST_RUN = 1_200_000
"""Milliseconds that a run may take."""

_LARGEST = 200_000
"""Bytes of a picture in the repository."""


class NoBrowser(Exception):
    """There is no Chromium on the PATH."""


@contextmanager
def chromium() -> Iterator[Browser]:
    """The machine's own Chromium, without a window and with a profile of its own.

    Raises:
        NoBrowser: there is none.
    """
    path = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if path is None:
        raise NoBrowser(f"none of {', '.join(BROWSERS)} is on the PATH")
    with sync_playwright() as playwright, playwright.chromium.launch(executable_path=path, args=_FLAGS) as browser:
        yield browser


@contextmanager
def new_page(browser: Browser, width: int, height: int = 900, phone: bool = False) -> Iterator[Page]:
    """A page that keeps nothing of another; a telephone's is laid out as such a device does it, at twice the pixels."""
    size = {"width": width, "height": height}
    context = browser.new_context(
        viewport=size,  # type: ignore[arg-type]
        is_mobile=phone,
        has_touch=phone,
        device_scale_factor=2 if phone else 1,
        reduced_motion="reduce",
        color_scheme="light",
    )
    with context:
        context.set_default_timeout(_PATIENCE)
        yield context.new_page()


def open_deployments(page: Page, url: str) -> None:
    """From the front page of the UI at `url` to the list of deployments."""
    page.goto(url)
    page.get_by_role("link", name="Deployments", exact=True).click()
    page.get_by_role("row", name="pipeline").first.wait_for()


def open_form(page: Page, flow: str, deployment: str) -> None:
    """From the list of deployments to the form that starts a run."""
    row = page.get_by_role("row").filter(has=page.get_by_role("link", name=flow, exact=True))
    row.get_by_role("link", name=deployment, exact=True).click()
    page.get_by_role("button", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Custom run").click()
    page.get_by_role("button", name="Submit").wait_for()


def open_choices(page: Page, field: str) -> list[str]:
    """Open a drop-down of the form; gives what it offers."""
    page.get_by_role("button", name=f"Select {field}", exact=True).click()
    page.get_by_role("option").first.wait_for()
    return page.get_by_role("option").all_inner_texts()


def choose(page: Page, field: str, choice: str) -> None:
    """Choose in a drop-down of the form."""
    open_choices(page, field)
    page.get_by_role("option", name=choice, exact=True).click()
    close_choices(page)  # where several may be chosen it stays open


def close_choices(page: Page) -> None:
    """Close the drop-down that is open."""
    page.keyboard.press("Escape")
    expect(page.get_by_role("listbox")).to_have_count(0, timeout=_PATIENCE)


def start(page: Page) -> None:
    """Send the form, and look at the run."""
    page.get_by_role("button", name="Submit").click()
    page.get_by_role("button", name="View run").click()
    page.get_by_role("tab", name="Logs").wait_for()


def end_of(page: Page) -> str:
    """How the run that the page shows ended, as "Completed", once it has."""
    state = page.get_by_text(re.compile("^(Completed|Failed|Crashed|Cancelled)$")).first
    state.wait_for(timeout=_LONGEST_RUN)
    return state.inner_text()


def open_artifact(page: Page, key: str) -> None:
    """From a run to one of its artifacts."""
    page.get_by_role("tab", name="Artifacts").click()
    page.get_by_role("link").filter(has=page.get_by_role("heading", name=key, exact=True)).click()
    page.locator("a[href*='/artifacts/artifact/']").first.click()
    page.get_by_role("tab", name="Raw").wait_for()


def photograph(page: Page, name: str) -> None:
    """Write what the page shows to `docs/NAME.png`, as soon as nothing moves any more.

    Raises:
        ValueError: the picture is too large for the repository.
    """
    before = b""
    while (shown := page.screenshot()) != before:
        before = shown
        page.wait_for_timeout(500)
    packed = io.BytesIO()
    colours = Image.open(io.BytesIO(shown)).convert("RGB").quantize(256, kmeans=1, dither=Image.Dither.NONE)
    colours.save(packed, format="PNG", optimize=True)
    if packed.tell() > _LARGEST:
        raise ValueError(f"{name}.png: {packed.tell()} bytes; at most {_LARGEST} go into the repository")
    (DOCS / f"{name}.png").write_bytes(packed.getvalue())
    print(f"docs/{name}.png: {packed.tell()} bytes", flush=True)


def of_the_ui(page: Page, url: str) -> None:
    """The deployments, the form, a run with its graph, and metrics."""
    open_deployments(page, url)
    photograph(page, "ui-deployments")
    open_form(page, "pipeline", "cpu")
    open_choices(page, "Pretrain")
    photograph(page, "ui-form")
    page.get_by_role("option", name="rotation").click()
    start(page)
    if (state := end_of(page)) != "Completed":
        raise ValueError(f"{page.url}: the run ended as {state}")
    page.reload()  # a graph that was drawn while its run was at work is not laid out for what came of it
    page.get_by_role("tab", name="Task Runs").click()
    page.locator("canvas").first.wait_for()
    photograph(page, "ui-run")
    open_artifact(page, "metrics-evaluate")
    page.get_by_placeholder("Search").fill("accuracy")
    photograph(page, "ui-artifact")


def main() -> int:
    """Take all pictures."""
    parser = argparse.ArgumentParser(description="Take the pictures that the docs show.")
    parser.add_argument("url", nargs="?", default="http://127.0.0.1:4200", help="of the server (default: %(default)s)")
    url = parser.parse_args().url
    if not REPORT.exists():
        print(f"error: {REPORT}: not there; run `make repro` first", file=sys.stderr)
        return 1
    steps: list[tuple[int, int, bool, Callable[[Page], None]]] = [
        (1400, 1500, False, lambda page: of_the_report(page, "report")),
        (390, 844, True, lambda page: of_the_report(page, "report-phone")),
        (1400, 1000, False, lambda page: of_the_ui(page, url)),
    ]
    try:
        with chromium() as browser:
            for width, height, phone, take in steps:
                with new_page(browser, width, height, phone) as page:
                    take(page)
    except (NoBrowser, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def of_the_report(page: Page, name: str) -> None:
    """The beginning of the report."""
    page.goto(REPORT.as_uri())
    photograph(page, name)


if __name__ == "__main__":
    sys.exit(main())
