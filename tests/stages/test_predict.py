"""The command `repflow predict`: predicted classes of images and folders."""

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from repflow.cli.app import app
from repflow.data.ingest.decode import decode
from repflow.data.ingest.resizing import ImageFormat
from repflow.encoders import Classifier, HeadConfig
from repflow.encoders.convolutional import SmallConfig
from repflow.encoders.model_files import Description, load_classifier, save_model, save_skipped
from repflow.evaluation.features import probabilities

CLASSES = ("dark", "light", "never")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier of dark and light images, whose head uses one feature, the brightness."""
    folder = tmp_path_factory.mktemp("model") / "finetune"
    preprocessing = {"size": 16, "channels": 3, "resize": "pad"}
    description = Description(SmallConfig(), preprocessing, HeadConfig(), CLASSES)
    torch.manual_seed(0)
    encoder = description.new_encoder()
    classifier = description.new_classifier(encoder)
    teach_brightness(classifier)
    save_model(folder, classifier, description)
    return folder


def teach_brightness(classifier: Classifier) -> None:
    """Fit the last layer on the features of plain grey images."""
    shades = torch.linspace(0, 1, 21)
    features = classifier.encoder.eval()(shades[:, None, None, None].expand(-1, 3, 16, 16)).detach()
    features = torch.cat([features, torch.ones(len(shades), 1)], dim=1)
    wanted = torch.stack([3 - 6 * shades, 6 * shades - 3, torch.full_like(shades, -6)], dim=1)
    weights = torch.linalg.lstsq(features, wanted, driver="gelsd").solution
    last = classifier.head[-1]
    with torch.no_grad():
        last.weight.copy_(weights[:-1].T)
        last.bias.copy_(weights[-1])


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with a dark image, a light one below it, and one that is cut off."""
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    Image.new("L", (40, 40), 5).save(folder / "dark [b].png")
    Image.new("RGB", (40, 40), "white").save(folder / "sub" / "light.jpg", quality=95)
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(folder / "cut.jpg")
    content = (folder / "cut.jpg").read_bytes()
    (folder / "cut.jpg").write_bytes(content[: len(content) // 2])
    return folder


def predict(model: Path, *arguments: object):
    return CliRunner().invoke(app, ["predict", "--model", str(model), *map(str, arguments)])


def test_a_folder_is_searched(model: Path, photos: Path) -> None:
    result = predict(model, photos, "--format", "json")
    found = {Path(row["path"]).name: row for row in json.loads(result.stdout)}
    assert found["dark [b].png"]["label"] == "dark"
    assert found["light.jpg"]["label"] == "light"
    assert found["light.jpg"]["probability"] > 0.9


def test_images_are_converted_to_the_image_format_of_the_model(model: Path, tmp_path: Path) -> None:
    Image.new("L", (90, 20), 118).save(tmp_path / "wide.png")  # grey; dark where it is padded
    (row,) = json.loads(predict(model, tmp_path / "wide.png", "--format", "json").stdout)
    content = (tmp_path / "wide.png").read_bytes()
    expected = {
        resize: probabilities(load_classifier(model)[0], decode(content, ImageFormat(16, 3, resize)).pixels[None]).max()
        for resize in ("pad", "crop")
    }
    assert row["probability"] == pytest.approx(expected["pad"], abs=1e-5)
    assert row["probability"] != pytest.approx(expected["crop"], abs=1e-5)


def test_an_unreadable_file_is_listed_with_its_reason_and_ends_with_3(model: Path, photos: Path) -> None:
    result = predict(model, photos, photos / "none.png", "--format", "csv")
    rows = {Path(row["path"]).name: row for row in csv.DictReader(io.StringIO(result.stdout))}
    assert len(rows) == 4
    assert "truncated" in rows["cut.jpg"]["reason"]
    assert rows["none.png"]["reason"] == "no such file"
    assert rows["cut.jpg"]["label"] == ""
    assert result.exit_code == 3
    assert result.stderr == "error: 2 of 4 files cannot be decoded; the column `reason` says why for each\n"


def test_files_keep_the_order_of_the_arguments(model: Path, photos: Path) -> None:
    named = [photos / "sub" / "light.jpg", photos / "dark [b].png"]
    result = predict(model, *named, "--format", "json")
    assert [row["path"] for row in json.loads(result.stdout)] == [str(path) for path in named]
    assert result.exit_code == 0


def test_top_gives_several_classes_the_most_probable_first(model: Path, photos: Path) -> None:
    result = predict(model, photos / "sub", "--top", "5", "--format", "json")
    rows = json.loads(result.stdout)
    assert [row["label"] for row in rows] == ["light", "dark", "never"]
    assert sum(row["probability"] for row in rows) == pytest.approx(1, abs=1e-5)


def test_the_table_shows_names_as_they_are(model: Path, photos: Path) -> None:
    result = predict(model, photos)
    assert "dark [b].png" in result.stdout
    assert "truncated" in result.stdout


def test_output_goes_to_a_file(model: Path, photos: Path, tmp_path: Path) -> None:
    result = predict(model, photos / "sub", "--format", "csv", "--output", tmp_path / "new" / "labels.csv")
    assert result.stdout == ""
    header, row = (tmp_path / "new" / "labels.csv").read_text().splitlines()
    assert header == "path,label,probability,reason"
    assert row.startswith(f"{photos}/sub/light.jpg,light,0.9")


def test_a_file_name_that_is_not_utf8_is_escaped(model: Path, tmp_path: Path) -> None:
    name = os.fsdecode(bytes(tmp_path) + b"/\xff.png")
    try:
        Image.new("L", (8, 8)).save(name, format="png")
    except OSError:
        pytest.skip("this file system takes text only")
    result = predict(model, tmp_path, "--format", "csv")
    assert "\\udcff.png" in result.stdout


def test_links_into_the_cache_of_dvc_are_followed(
    model: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".dvc/cache").mkdir(parents=True)
    cached = (photos / "dark [b].png").rename(tmp_path / ".dvc/cache/dark")
    (photos / "dark [b].png").symlink_to(cached)
    monkeypatch.chdir("/")
    result = predict(model, photos, "--format", "json")
    assert {Path(row["path"]).name: row["label"] for row in json.loads(result.stdout)}["dark [b].png"] == "dark"
    (tmp_path / ".dvc").rename(tmp_path / "dvc")
    (photos / "dark [b].png").unlink()
    (photos / "dark [b].png").symlink_to(tmp_path / "dvc/cache/dark")
    assert "leads out of" in predict(model, photos).stderr


def damage_weights(folder: Path) -> None:
    weights = folder / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])


def damage_description(folder: Path) -> None:
    (folder / "model.json").write_text("{")


def remove_preprocessing(folder: Path) -> None:
    about = json.loads((folder / "model.json").read_text())
    about["preprocessing"].pop("resize")
    (folder / "model.json").write_text(json.dumps(about))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (shutil.rmtree, "model.json"),
        (damage_weights, "weights.safetensors"),
        (damage_description, "model.json"),
        (remove_preprocessing, "resize"),
        (lambda folder: save_skipped(folder, "there is no target domain"), "there is no target domain"),
    ],
)
def test_a_missing_or_damaged_model_is_named(model: Path, photos: Path, tmp_path: Path, damage, message) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(model, copy)
    damage(copy)
    result = predict(copy, photos)
    assert result.exit_code == 3
    assert result.stderr.startswith("error: ")
    assert message in result.stderr
    assert result.stdout == ""


def test_a_folder_without_images_is_named(model: Path, tmp_path: Path) -> None:
    result = predict(model, tmp_path)
    assert result.exit_code == 3
    assert str(tmp_path) in result.stderr


def test_classes_and_files_that_the_locale_does_not_know_are_written(model: Path, tmp_path: Path) -> None:
    """In the C locale with an ASCII terminal: no traceback, and UTF-8 in the file."""
    named, photos = tmp_path / "modèle", tmp_path / "猫"
    shutil.copytree(model, named)
    for file in named.glob("*.json"):
        text = file.read_text(encoding="utf-8")
        file.write_text(text.replace('"dark"', '"été"').replace('"light"', '"夏"'), encoding="utf-8")
    photos.mkdir()
    Image.new("L", (40, 40), 5).save(photos / "é.png")
    Image.new("L", (40, 40), 250).save(photos / "ñ.png")
    code = "from repflow.cli.app import app; app()"
    command = [sys.executable, "-c", code, "predict", "猫", "--model", "modèle", "--format", "csv"]
    locale = {**os.environ, "LC_ALL": "C", "PYTHONIOENCODING": "ascii"}
    for output in ([], ["--output", "prédictions.csv"]):
        done = subprocess.run([*command, *output], cwd=tmp_path, env=locale, capture_output=True, check=False)
        assert (done.returncode, b"Traceback" in done.stderr) == (0, False), done.stderr
    rows = list(csv.DictReader(io.StringIO((tmp_path / "prédictions.csv").read_text(encoding="utf-8"))))
    assert [(row["path"], row["label"]) for row in rows] == [("猫/é.png", "été"), ("猫/ñ.png", "夏")]
