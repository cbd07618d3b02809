"""Take the screenshots of the Prefect UI and of the report for the docs, in headless Chromium.

    make repro                       # makes the report, and fills DVC's cache for the run
    make ui                          # and in another terminal:
    python docs/screenshots.py       # writes docs/*.png; takes the URL of another server as argument

The script opens the form of the deployment `pipeline`, selects another pretraining method, starts the run, waits until
it ends and opens its metrics. The browser tests use the same functions.
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
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # no page may load anything from another host
)
_PATIENCE = 60_000
"""Timeout for elements of a page, in milliseconds."""
_LONGEST_RUN = 1_200_000
"""Timeout for a run, in milliseconds."""

_LARGEST = 200_000
"""Maximum size of a screenshot in the repository, in bytes."""


class NoBrowser(Exception):
    """There is no Chromium on the PATH."""


@contextmanager
def chromium() -> Iterator[Browser]:
    """The installed Chromium, headless and with a temporary profile.

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
    """A page in a new browser context; with `phone`, in the layout of a phone with two device pixels per CSS pixel."""
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
    """Go from the front page of the UI at `url` to the list of deployments."""
    page.goto(url)
    page.get_by_role("link", name="Deployments", exact=True).click()
    page.get_by_role("row", name="pipeline").first.wait_for()


def open_form(page: Page, flow: str, deployment: str) -> None:
    """Go from the list of deployments to the form that starts a run."""
    row = page.get_by_role("row").filter(has=page.get_by_role("link", name=flow, exact=True))
    row.get_by_role("link", name=deployment, exact=True).click()
    page.get_by_role("button", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Custom run").click()
    page.get_by_role("button", name="Submit").wait_for()


def open_choices(page: Page, field: str) -> list[str]:
    """Open a drop-down list of the form; returns its options."""
    page.get_by_role("button", name=f"Select {field}", exact=True).click()
    page.get_by_role("option").first.wait_for()
    return page.get_by_role("option").all_inner_texts()


def choose(page: Page, field: str, choice: str) -> None:
    """Select an option in a drop-down list of the form."""
    open_choices(page, field)
    page.get_by_role("option", name=choice, exact=True).click()
    close_choices(page)  # lists with multiple selection stay open


def close_choices(page: Page) -> None:
    """Close the open drop-down list."""
    page.keyboard.press("Escape")
    expect(page.get_by_role("listbox")).to_have_count(0, timeout=_PATIENCE)


def start(page: Page) -> None:
    """Submit the form, again while SQLite is busy, and open the page of the run.

    Raises:
        ValueError: the server refuses the run.
    """
    status = 503
    while status == 503:
        with page.expect_response(lambda answer: answer.url.endswith("/create_flow_run")) as found:
            page.get_by_role("button", name="Submit").click()
        status = found.value.status
    if not found.value.ok:
        raise ValueError(f"the run was refused with status {status}: {found.value.text()}")
    # The notification with the button "View run" goes after seconds, on a busy machine before it can be clicked.
    page.goto(f"{page.url.partition('/deployments/')[0]}/runs/flow-run/{found.value.json()['id']}")
    page.get_by_role("tab", name="Logs").wait_for()


def end_of(page: Page) -> str:
    """Wait for the end of the run on the page; returns its state, as "Completed"."""
    state = page.get_by_text(re.compile("^(Completed|Failed|Crashed|Cancelled)$")).first
    state.wait_for(timeout=_LONGEST_RUN)
    return state.inner_text()


def open_artifact(page: Page, key: str) -> None:
    """Go from a run to one of its artifacts."""
    page.get_by_role("tab", name="Artifacts").click()
    page.get_by_role("link").filter(has=page.get_by_role("heading", name=key, exact=True)).click()
    page.locator("a[href*='/artifacts/artifact/']").first.click()
    page.get_by_role("tab", name="Raw").wait_for()


def take_screenshot(page: Page, name: str) -> None:
    """Write a screenshot of the page to `docs/NAME.png`, as soon as two in a row are equal.

    Raises:
        ValueError: the file is too large for the repository.
    """
    before = b""
    while (shown := page.screenshot()) != before:
        before = shown
        page.wait_for_timeout(500)
    packed = io.BytesIO()
    colours = Image.open(io.BytesIO(shown)).convert("RGB").quantize(256, kmeans=1, dither=Image.Dither.NONE)
    colours.save(packed, format="PNG", optimize=True)
    if packed.tell() > _LARGEST:
        raise ValueError(f"{name}.png: {packed.tell()} bytes, more than the limit of {_LARGEST} for the repository")
    (DOCS / f"{name}.png").write_bytes(packed.getvalue())
    print(f"docs/{name}.png: {packed.tell()} bytes", flush=True)


def take_ui(page: Page, url: str) -> None:
    """Take screenshots of the deployments, the form, a run with its graph, and metrics."""
    open_deployments(page, url)
    take_screenshot(page, "ui-deployments")
    open_form(page, "pipeline", "cpu")
    open_choices(page, "Pretrain")
    take_screenshot(page, "ui-form")
    page.get_by_role("option", name="rotation").click()
    start(page)
    if (state := end_of(page)) != "Completed":
        raise ValueError(f"{page.url}: the run ended as {state}")
    page.reload()  # a graph that was drawn during the run has another layout
    page.get_by_role("tab", name="Task Runs").click()
    page.locator("canvas").first.wait_for()
    take_screenshot(page, "ui-run")
    open_artifact(page, "metrics-evaluate")
    page.get_by_placeholder("Search").fill("accuracy")
    take_screenshot(page, "ui-artifact")


def main() -> int:
    """Take all screenshots."""
    parser = argparse.ArgumentParser(description="Take the screenshots for the docs.")
    parser.add_argument(
        "url", nargs="?", default="http://127.0.0.1:4200", help="URL of the Prefect server (default: %(default)s)"
    )
    url = parser.parse_args().url
    if not REPORT.exists():
        print(f"error: {REPORT}: not found; run `make repro` first", file=sys.stderr)
        return 1
    steps: list[tuple[int, int, bool, Callable[[Page], None]]] = [
        (1400, 1500, False, lambda page: take_report(page, "report")),
        (390, 844, True, lambda page: take_report(page, "report-phone")),
        (1400, 1000, False, lambda page: take_ui(page, url)),
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


def take_report(page: Page, name: str) -> None:
    """Take a screenshot of the beginning of the report."""
    page.goto(REPORT.as_uri())
    take_screenshot(page, name)


if __name__ == "__main__":
    sys.exit(main())
