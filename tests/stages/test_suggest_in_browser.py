"""The page of `repflow suggest` in a browser: labels are filled in, downloaded, and read by the next ingestion."""

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from playwright.sync_api import Browser, expect

from repflow.data.store import open_store
from repflow.encoders import HeadConfig
from repflow.encoders.convolutional import SmallConfig
from repflow.encoders.model_files import Description, save_model
from repflow.stages import ingest, split, suggest
from screenshots import new_page

pytestmark = pytest.mark.xdist_group("suggest in browser")  # one worker opens the browser

CLASSES = ("dark", "light")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project up to a classifier: a folder with images of two classes, and others without."""
    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(0)
    for name, brightness in (("dark", 40), ("light", 200), ("unlabelled", 120)):
        (tmp_path / "set" / name).mkdir(parents=True)
        for number in range(12):
            pixels = generator.integers(brightness - 40, brightness + 40, (16, 16, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "set" / name / f'{number}, "é".png')
    values = {
        "seed": 0,
        "data": {"size": 16, "channels": 3, "resize": "stretch", "source": {"kind": "folder", "path": "set"}},
        "split": {"labels_per_class": None, "validation": 0.1, "test": 0.2, "near_duplicate_distance": None},
        "runtime": {"memory": 1.0, "checkpoints": {}},
    }
    values["data"]["target"] = {"kind": "none"}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values))
    torch.manual_seed(0)
    preprocessing = {"size": 16, "channels": 3, "resize": "stretch"}
    description = Description(SmallConfig(widths=(8, 16)), preprocessing, HeadConfig(), CLASSES)
    save_model(tmp_path / "models/finetune", description.new_classifier(description.new_encoder()), description)
    for domain in ("source", "target"):
        ingest.run(domain)
    split.run()
    return tmp_path


@pytest.mark.parametrize("width", [1400, 390])
def test_labels_are_filled_in_downloaded_and_ingested(browser: Browser, project: Path, width: int) -> None:
    suggest.run(4)
    address = (project / "reports/suggestions.html").as_uri()
    messages: list[str] = []
    requested: list[str] = []
    with new_page(browser, width, phone=width < 500) as page:
        page.on("console", lambda message: messages.append(message.text))
        page.on("pageerror", lambda error: messages.append(str(error)))
        page.on("request", lambda request: requested.append(request.url))
        page.goto(address)
        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert page.locator("datalist option").evaluate_all("all => all.map(each => each.value)") == list(CLASSES)
        assert page.evaluate("[...document.images].every(each => each.complete && each.naturalWidth === 16)")
        fields, button = page.locator("input[data-path]"), page.get_by_role("button", name="Download labels.csv")
        paths = fields.evaluate_all("all => all.map(each => each.dataset.path)")
        guess = page.locator("button[data-guess]").nth(1).text_content()
        expect(button).to_be_disabled()
        fields.nth(0).fill(' dusk, "blue" ')
        fields.nth(0).press("Enter")
        expect(fields.nth(1)).to_be_focused()
        page.locator("button[data-guess]").nth(1).click()
        expect(page.get_by_role("status")).to_have_text("2 of 4 labelled")
        with page.expect_download() as started:
            button.click()
        started.value.save_as(project / "set/labels.csv")
        assert started.value.suggested_filename == "labels.csv"
    assert messages == []
    assert [url for url in requested if not url.startswith(("data:", "blob:"))] == [address]
    ingest.run("source")
    store = open_store(project / "data/stores/source")
    given = store.manifest.set_index("path")["given_class"].fillna("nothing")
    assert given[paths].tolist() == ['dusk, "blue"', guess, "nothing", "nothing"]
    assert store.classes == ("dark", 'dusk, "blue"', "light")
