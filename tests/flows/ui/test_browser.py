"""The UI in a browser, by clicks: from the list of deployments to the metrics of a flow run."""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

import screenshots

pytestmark = pytest.mark.xdist_group("prefect")
expect.set_options(timeout=60_000)
GROUPS = ["adapt", "augment", "data", "encoder", "finetune", "hardware", "pretrain", "tune"]


@pytest.fixture
def page(browser: Browser, ui: Any) -> Iterator[Page]:
    """The list of deployments."""
    with screenshots.new_page(browser, 1400) as opened:
        screenshots.open_deployments(opened, ui.url)
        yield opened


def test_the_deployments_are_listed(page: Page) -> None:
    listed = {("pipeline", "cpu"): "Ready", ("search", "cpu"): "Ready", ("pipeline", "gpu"): "Not Ready"}
    for (flow, deployment), state in listed.items():
        row = page.get_by_role("row").filter(has=page.get_by_role("link", name=flow, exact=True))
        row = row.filter(has=page.get_by_role("link", name=deployment, exact=True))
        expect(row).to_have_count(1)
        expect(row.get_by_text(state, exact=True)).to_be_visible()


def test_the_form_offers_what_is_in_conf(page: Page, ui: Any) -> None:
    screenshots.open_form(page, "pipeline", "cpu")
    expect(page.get_by_role("button", name="Select Pretrain")).to_have_text("simclr")
    for group in GROUPS:
        offered = screenshots.open_choices(page, group.capitalize())
        assert offered == sorted(path.stem for path in (ui.project / "conf" / group).glob("*.yaml"))
        screenshots.close_choices(page)
    assert screenshots.open_choices(page, "targets") == ["endless", "evaluate", "pretrain"]


def test_a_run_with_another_method_is_started_by_clicks_and_shows_its_metrics(page: Page, ui: Any, git: Any) -> None:
    screenshots.open_form(page, "pipeline", "cpu")
    screenshots.choose(page, "Pretrain", "denoising_autoencoder")
    screenshots.choose(page, "targets", "evaluate")
    screenshots.start(page)
    assert screenshots.end_of(page) == "Completed"
    name = "pretrain-denoisingautoencoder"
    expect(page.get_by_role("navigation", name="breadcrumb")).to_contain_text(name)
    assert "pretrain.name: 'simclr' -> 'denoising_autoencoder'" in git(ui.project, "log", "-1", f"run/{name}")
    screenshots.open_artifact(page, "metrics-evaluate")
    expect(page.get_by_role("row", name="accuracy")).to_contain_text("0.5")
