"""The model card: metadata as model hubs take them, and text without a path, a time or a gap."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from repflow.data.read.rows import Side, open_domain
from repflow.stages import select

pytestmark = pytest.mark.xdist_group("evaluation")  # one worker trains and evaluates for all tests here

SECTIONS = [
    "What it is",
    "Classes",
    "Data",
    "How it was made",
    "Figures",
    "Limits",
    "Licence",
    "How to use it",
]


def card(folder: Path) -> str:
    return (folder / "models/best/README.md").read_text(encoding="utf-8")


def metadata(folder: Path) -> dict[str, Any]:
    found = re.match(r"---\n(.*?)\n---\n", card(folder), flags=re.DOTALL)
    assert found is not None
    return yaml.safe_load(found.group(1))


def test_the_metadata_have_the_fields_that_the_hub_documents(reported: Path) -> None:
    """https://github.com/huggingface/hub-docs/blob/main/modelcard.md"""
    found = metadata(reported)
    known = {"language", "license", "license_name", "license_link", "library_name", "tags", "datasets", "metrics"}
    known |= {"base_model", "pipeline_tag", "thumbnail", "model-index"}
    assert set(found) <= known
    assert found["library_name"] == "repflow"
    assert found["pipeline_tag"] == "image-classification"
    assert all(isinstance(each, str) for name in ("tags", "metrics") for each in found[name])
    (model,) = found["model-index"]
    assert set(model) == {"name", "results"}
    for result in model["results"]:
        assert set(result) == {"task", "dataset", "metrics"}
        assert result["task"]["type"] == "image-classification"
        assert {"name", "type"} <= set(result["dataset"]) <= {"name", "type", "config", "split", "revision", "args"}
        for metric in result["metrics"]:
            assert {"type", "value"} <= set(metric) <= {"type", "value", "name", "config", "args", "verified"}


def test_the_results_are_those_of_the_metrics(reported: Path) -> None:
    results = json.loads((reported / "metrics/select.json").read_text())
    found = metadata(reported)["model-index"][0]["results"]
    assert [each["dataset"]["name"] for each in found] == ["digits (source)", "digits (target)"]
    for domain, result in zip(("source", "target"), found, strict=True):
        own = results["best"][domain]
        assert [metric["value"] for metric in result["metrics"]] == [own["accuracy"], own["f1"]]
    text = card(reported)
    for own in (results["best"]["source"], results["candidates"]["baseline"]["source"]):
        ends = f"{100 * own['accuracy']:.1f} % | {100 * own['low']:.1f} % to {100 * own['high']:.1f} %"
        assert ends in text


def test_every_section_is_there_and_says_something(reported: Path) -> None:
    parts = re.split(r"^## (.*)$", card(reported), flags=re.MULTILINE)
    assert parts[1::2] == SECTIONS
    assert all(len(text.strip()) > 10 for text in parts[2::2])
    assert "None" not in card(reported)
    assert "Labels used: " in card(reported)
    for name in map(str, range(10)):
        assert f"`{name}`" in parts[4]


def test_there_is_no_path_of_this_machine_and_no_time(reported: Path) -> None:
    assert str(reported.parents[2]) not in card(reported)
    assert not re.search(r"20\d\d-\d\d|\d\d:\d\d", card(reported))


def test_a_licence_of_pretrained_weights_is_shown(reported: Path) -> None:
    assert "license" not in metadata(reported)
    for folder in [path.parent for path in (reported / "models").rglob("model.json")]:
        about = json.loads((folder / "model.json").read_text())
        if "provenance" in about:
            about["provenance"]["weights"] = {"licence": "Apache-2.0", "source": "timm/resnet10t.c3_in1k"}
            (folder / "model.json").write_text(json.dumps(about))
    select.run()
    assert metadata(reported)["license"] == "apache-2.0"
    assert "Pretrained weights, from timm/resnet10t.c3_in1k: Apache-2.0." in card(reported)


def test_the_card_of_one_domain_shows_one(one_domain: Path) -> None:
    assert len(metadata(one_domain)["model-index"][0]["results"]) == 1


def test_the_python_of_the_card_runs(
    reported: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = open_domain("source", reported / "data/stores", reported / "data/splits").labelled_rows(Side.TEST)
    monkeypatch.chdir(reported / "models")
    Path("photos").mkdir()
    Image.fromarray(rows.images[0][0]).save("photos/one.png")
    (code,) = re.findall(r"```python\n(.*?)```", card(reported), flags=re.DOTALL)
    exec(code, {})
    shown = capsys.readouterr().out
    assert "photos/one.png" in shown
    assert shown.count("(") == 4
