"""The command `repflow suggest`: a table and a page of images to label, which change nothing else."""

import base64
import csv
import io
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image
from typer.testing import CliRunner

from repflow.cli.app import app
from repflow.encoders import HeadConfig
from repflow.encoders.convolutional import SmallConfig
from repflow.encoders.model_files import Description, save_model
from repflow.errors import DataError
from repflow.stages import suggest

CLASSES = tuple(str(number) for number in range(10))


def save_classifier(folder: Path, size: int = 8, seed: int = 0) -> None:
    """A classifier with random weights."""
    torch.manual_seed(seed)
    preprocessing = {"size": size, "channels": 1, "resize": "stretch"}
    description = Description(SmallConfig(widths=(8, 16)), preprocessing, HeadConfig(), CLASSES)
    save_model(folder, description.new_classifier(description.new_encoder()), description)


@pytest.fixture
def trained(project: Path) -> Path:
    """The project with a classifier, and with the parameters of a folder as its source."""
    save_classifier(project / "models/finetune")
    parameters = yaml.safe_load((project / "params.yaml").read_text())
    parameters["data"] |= {"root": "raw", "source": {"kind": "folder", "path": "set"}, "target": {"kind": "none"}}
    (project / "params.yaml").write_text(yaml.safe_dump(parameters))
    return project


def table(project: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO((project / "reports/suggestions.csv").read_text(encoding="utf-8"))))


def test_the_table_has_unlabelled_rows_as_the_manifest_names_them(trained: Path) -> None:
    suggest.run(20)
    rows = table(trained)
    assert len(rows) == len({row["path"] for row in rows}) == 20
    sides = pd.read_parquet(trained / "data/splits/source.parquet")["side"]
    manifest = pd.read_parquet(trained / "data/stores/source/manifest.parquet").set_index("path")
    assert {sides[manifest.loc[row["path"], "index"]] for row in rows} == {"unlabelled"}
    for row in rows:
        assert row["guess"] in CLASSES
        assert row["second_guess"] in set(CLASSES) - {row["guess"]}
        assert 0.1 <= float(row["confidence"]) <= 1
        assert row["label"] == ""
        guess, second = (re.escape(row[name]) for name in ("guess", "second_guess"))
        said = re.fullmatch(
            rf"{guess} (\d+\.\d) %, {second} (\d+\.\d) %; covers (\d+\.\d) % of what is uncertain", row["reason"]
        )
        assert said is not None
        assert float(said[1]) / 100 == pytest.approx(float(row["confidence"]), abs=6e-4)
        assert float(said[2]) <= float(said[1])
    covers = [float(row["reason"].split("covers ")[1].split()[0]) for row in rows]
    assert covers == sorted(covers, reverse=True)


def test_the_page_has_the_images_and_nothing_from_elsewhere(trained: Path) -> None:
    suggest.run(5)
    page = (trained / "reports/suggestions.html").read_text(encoding="utf-8")
    found = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    images = np.load(trained / "data/stores/source/images.npy")
    manifest = pd.read_parquet(trained / "data/stores/source/manifest.parquet").set_index("path")
    for row, content in zip(table(trained), found, strict=True):
        shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(content))))
        stored = images[manifest.loc[row["path"], "index"]]
        assert np.array_equal(shown, np.repeat(stored.transpose(1, 2, 0), 3, axis=2))
    assert not re.search(r"https?:|//[a-z]|url\(", page)
    assert str(trained) not in page


def test_it_writes_the_same_bytes_again(trained: Path) -> None:
    written = []
    for _ in range(2):
        suggest.run(10)
        written.append([(trained / "reports" / name).read_bytes() for name in ("suggestions.csv", "suggestions.html")])
        shutil.rmtree(trained / "reports")
    assert written[0] == written[1]


def test_hidden_labels_change_nothing(trained: Path) -> None:
    suggest.run(10)
    before = (trained / "reports/suggestions.csv").read_bytes()
    path = trained / "data/stores/source/manifest.parquet"
    manifest = pd.read_parquet(path)
    hidden = (pd.read_parquet(trained / "data/splits/source.parquet")["side"] == "unlabelled").to_numpy()
    manifest.loc[hidden, ["label", "given_class"]] = [0, "0"]
    manifest.to_parquet(path, index=False)
    suggest.run(10)
    assert (trained / "reports/suggestions.csv").read_bytes() == before


def test_names_of_classes_and_files_are_escaped(trained: Path) -> None:
    path = trained / "data/stores/source/manifest.parquet"
    manifest = pd.read_parquet(path)
    manifest["path"] = [f'a "<script>" & b/{number}' for number in range(len(manifest))]
    manifest.to_parquet(path, index=False)
    (trained / "data/splits/classes.json").write_text(json.dumps(["</datalist>", *CLASSES[1:]]))
    suggest.run(3)
    page = (trained / "reports/suggestions.html").read_text(encoding="utf-8")
    assert page.count("<script>") == 1
    assert page.count("</datalist>") == 1
    assert table(trained)[0]["path"].startswith('a "<script>" & b/')


def test_the_best_model_is_taken_where_there_is_one(trained: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert suggest.default_model() == Path("models/finetune")
    save_classifier(trained / "models/best", seed=1)
    assert suggest.default_model() == Path("models/best")
    caplog.set_level("INFO", logger="repflow")
    suggest.run(3)
    assert "suggest: 3 images to label, by models/best" in caplog.text


def test_the_terminal_says_where_the_labels_go(trained: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="repflow")
    suggest.run(3)
    assert "put labels.csv at raw/set/labels.csv, then `dvc repro`" not in caplog.text  # there is no such folder yet
    (trained / "raw/set").mkdir(parents=True)
    suggest.run(3)
    assert "put labels.csv at raw/set/labels.csv, then `dvc repro`" in caplog.text
    parameters = yaml.safe_load((trained / "params.yaml").read_text())
    for source, said in (
        ({"kind": "archive", "path": "set.zip"}, "put labels.csv at raw/labels.csv, then `repflow compose`"),
        ({"kind": "digits"}, "this source has no place for added labels"),
    ):
        parameters["data"]["source"] = source
        (trained / "params.yaml").write_text(yaml.safe_dump(parameters))
        assert suggest.how_to_add().startswith(said)


@pytest.mark.parametrize("budget", [10, None])
def test_a_budget_that_hides_added_labels_is_named(
    trained: Path, budget: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    parameters = yaml.safe_load((trained / "params.yaml").read_text())
    parameters["split"] = {"labels_per_class": budget}
    (trained / "params.yaml").write_text(yaml.safe_dump(parameters))
    suggest.run(3)
    assert ("split.labels_per_class is 10, and labels beyond it are not used" in caplog.text) == (budget is not None)


def test_fewer_are_suggested_where_the_others_are_alike(trained: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="repflow")
    images = np.load(trained / "data/stores/source/images.npy")
    images[60:160] = images[60:64].repeat(25, axis=0)
    np.save(trained / "data/stores/source/images.npy", images)
    suggest.run(50)
    assert len(table(trained)) == 4
    assert "all other unlabelled images are like these, or like labelled ones" in caplog.text


@pytest.mark.parametrize("mistake", ["nothing unlabelled", "another size", "no model"])
def test_a_mistake_of_the_user_is_one_message(trained: Path, mistake: str) -> None:
    if mistake == "nothing unlabelled":
        path = trained / "data/splits/source.parquet"
        split = pd.read_parquet(path)
        split.loc[split["side"] == "unlabelled", "side"] = "labelled"
        split.to_parquet(path, index=False)
        expected = "every training image of the source has a label"
    elif mistake == "another size":
        save_classifier(trained / "models/finetune", size=16)
        expected = "models/finetune: is a model for images of another size than those in data/stores; run `dvc repro`"
    else:
        shutil.rmtree(trained / "models/finetune")
        expected = "models/finetune/model.json: not a readable model"
    with pytest.raises(DataError, match=re.escape(expected)):
        suggest.run(3)
    result = CliRunner().invoke(app, ["suggest", "--count", "3"])
    assert (result.exit_code, result.stderr.startswith("error: "), "Traceback" in result.stderr) == (3, True, False)
    assert not (trained / "reports").exists()
