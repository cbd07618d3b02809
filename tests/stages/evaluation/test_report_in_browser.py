"""The report in a browser: it opens from a file without other requests, and is legible on a phone and a desktop."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from screenshots import new_page

pytestmark = pytest.mark.xdist_group("evaluation")  # one worker trains and evaluates for all tests here

SMALLEST = 12.0
"""Smallest font size of the page, in pixels."""
SMALLEST_IN_CHARTS = 9.0

LOOK = """() => {
  const drawn = element => { const box = element.getBoundingClientRect(); return box.width > 0 && box.height > 0; };
  const texts = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node; (node = walker.nextNode()); ) {
    const element = node.parentElement;
    if (!node.data.trim() || element.closest("style, title") || !drawn(element)) continue;
    const range = document.createRange();
    range.selectNodeContents(node);
    const box = range.getBoundingClientRect();
    const around = (element.closest("figure") || document.body).getBoundingClientRect();
    const matrix = element instanceof SVGElement ? element.getScreenCTM() : null;
    texts.push({
      text: node.data.trim(),
      chart: matrix !== null,
      size: parseFloat(getComputedStyle(element).fontSize) * (matrix ? Math.hypot(matrix.a, matrix.b) : 1),
      inside: element.closest(".scroll") !== null || (box.left >= around.left - 1 && box.right <= around.right + 1),
    });
  }
  const regions = [...document.querySelectorAll(".scroll")];
  return {
    width: document.documentElement.scrollWidth,
    viewport: window.innerWidth,
    texts,
    images: [...document.images].map(each => each.complete && each.naturalWidth > 0 && drawn(each)),
    regions: regions.map(each => ({
      right: each.getBoundingClientRect().right,
      whole: each.scrollWidth <= each.clientWidth,
      scrolls: each.tabIndex === 0 && getComputedStyle(each).overflowX === "auto",
    })),
  };
}"""


@pytest.fixture(params=[1400, 390])
def page(request: pytest.FixtureRequest, browser: Browser) -> Iterator[Page]:
    """An empty page of the width of a desktop and of a phone."""
    with new_page(browser, request.param, phone=request.param < 500) as opened:
        yield opened


@pytest.fixture
def address(_reported: Path) -> str:
    return (_reported / "reports/report.html").as_uri()


def test_it_opens_without_console_messages_and_requests(page: Page, address: str) -> None:
    messages: list[str] = []
    requested: list[str] = []
    page.on("console", lambda message: messages.append(message.text))
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.on("request", lambda request: requested.append(request.url))
    page.goto(address)
    assert messages == []
    assert [url for url in requested if not url.startswith("data:")] == [address]


def test_it_is_legible_and_fits_the_screen(page: Page, address: str) -> None:
    page.goto(address)
    seen: Any = page.evaluate(LOOK)
    assert page.viewport_size is not None
    assert seen["width"] == seen["viewport"] == page.viewport_size["width"]
    assert [each["text"] for each in seen["texts"] if not each["inside"]] == []
    assert all(seen["images"])
    assert all(region["whole"] or region["scrolls"] for region in seen["regions"])
    assert all(region["right"] <= seen["width"] for region in seen["regions"])
    for chart, smallest in ((False, SMALLEST), (True, SMALLEST_IN_CHARTS)):
        sizes = {each["text"]: each["size"] for each in seen["texts"] if each["chart"] == chart}
        assert len(sizes) > 50
        assert {text: size for text, size in sizes.items() if size < smallest} == {}
