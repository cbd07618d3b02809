"""The measurement of own images, on two classes of digits in the place of CIFAR-10: every part, and what it writes."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

import own_images

FAST = ("budget.pretrain.least=64", "budget.pretrain.most=64", "budget.finetune.least=640", "budget.finetune.most=640")


@pytest.fixture
def drawings(tmp_path: Path) -> Path:
    """Digits as an archive like Omniglot's: 4 characters of 2 alphabets, 20 drawings each."""
    digits = load_digits()
    archive = tmp_path / "data/omniglot.tar.xz"
    archive.parent.mkdir()
    with tarfile.open(archive, "w:xz") as tar:
        for digit in range(4):
            for number, pixels in enumerate(digits.images[digits.target == digit][:20]):
                content = io.BytesIO()
                Image.fromarray((pixels * 15.9).astype(np.uint8)).save(content, format="PNG")
                member = tarfile.TarInfo(f"background/alphabet{digit // 2}/character{digit}/{number}.png")
                member.size = content.tell()
                content.seek(0)
                tar.addfile(member, content)
    return archive.parent


def test_every_part_is_run_and_recorded_once(
    drawings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(own_images, "CHARACTERS", 2)
    monkeypatch.setitem(own_images.TASKS, "omniglot-5", (*own_images.TASKS["omniglot-5"], *FAST))
    command = [str(drawings), str(tmp_path / "records"), "--tasks", "omniglot-5", "--seeds", "0", "--rival", "--limit"]
    assert own_images.main(command) == 0
    path = tmp_path / "records/omniglot-5.json"
    text = path.read_text(encoding="utf-8")
    [entry] = json.loads(text)["seeds"].values()
    assert list(entry) == ["run", "rival", "limit"]
    assert {"baseline", "linear", "finetune"} <= set(entry["run"]["candidates"])
    assert entry["run"]["labels"] == {"training": 8, "choosing": 2}
    for part in (entry["run"]["best"]["source"], entry["rival"], entry["limit"]):
        assert 0 <= part["low"] <= part["accuracy"] <= part["high"] <= 1
    assert str(tmp_path) not in text
    written = path.stat().st_mtime_ns
    capsys.readouterr()
    assert own_images.main(command) == 0
    assert path.stat().st_mtime_ns == written
    assert not capsys.readouterr().out


def test_the_characters_are_none_that_chose_the_encoder(
    drawings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_images, "CHARACTERS", 2)
    own_images.unpack_characters(drawings / "omniglot.tar.xz", tmp_path / "characters")
    names = [f"background/alphabet{digit // 2}/character{digit}" for digit in range(4)]
    order = np.random.default_rng(0).permutation(names)
    expected = {"-".join(name.split("/")[-2:]) for name in order[2:4]}
    for side in ("train", "test"):
        folders = list((tmp_path / "characters" / side).iterdir())
        assert {folder.name for folder in folders} == expected
        assert all(len(list(folder.iterdir())) == own_images.DRAWINGS for folder in folders)
