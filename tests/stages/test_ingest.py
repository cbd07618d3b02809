"""The stage `ingest`: from params.yaml to a store, written atomically, with one message for every user error."""

import functools
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from repflow.data.store import open_store
from repflow.errors import DataError, ParameterError
from repflow.stages import ingest

ROOT = Path(__file__).parents[2]
DIGITS = {"kind": "digits", "start": 0.9}
Data = dict[str, Any]

RUN = "import sys; from repflow.cli.app import app; sys.argv = ['repflow', 'ingest', 'source']; app()"
"""The code that the command `repflow ingest source` runs."""

HALF = """
import time
from pathlib import Path
from repflow.data import store
from repflow.stages import ingest

def append(self, images):
    self._file.write(images.tobytes()[:999])
    self._file.flush()
    Path("writing").touch()
    time.sleep(10_000)

store.ImagesFile.append = append
ingest.run("source")
"""
"""An ingestion that stops while it writes the images."""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Write params.yaml with the given source into the working directory."""
    monkeypatch.chdir(tmp_path)

    def write(source: Data, target: Data | None = None, **data: Any) -> Path:
        form = {"size": 16, "channels": 3, "resize": "stretch"}
        values = {**form, "source": source, "target": target or {"kind": "none"}, **data}
        (tmp_path / "params.yaml").write_text(yaml.safe_dump({"seed": 0, "data": values}))
        return tmp_path

    return write


def command(project: Path, code: str = RUN, **settings: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], cwd=project, capture_output=True, text=True, check=False, **settings
    )


def leftovers(project: Path) -> list[str]:
    return sorted(path.name for path in (project / "data/stores").iterdir())


def test_both_domains_are_packed(project: Callable[..., Path]) -> None:
    root = project(DIGITS, {"kind": "blended", "foreground": DIGITS, "photos": {"kind": "bundled"}})
    ingest.run("source")
    ingest.run("target")
    assert leftovers(root) == ["source", "target"]
    source, target = (open_store(root / "data/stores" / domain) for domain in ("source", "target"))
    assert source.classes == target.classes
    assert source.images.shape == target.images.shape == (180, 3, 16, 16)


def test_relative_paths_start_at_the_root_of_the_parameters(project: Callable[..., Path]) -> None:
    root = project({"kind": "folder", "path": "set"}, root="pictures")
    (root / "pictures/set/cat").mkdir(parents=True)
    Image.new("RGB", (9, 9)).save(root / "pictures/set/cat/1.png")
    ingest.run("source")
    assert len(open_store(root / "data/stores/source").images) == 1


def test_images_that_dvc_does_not_watch_are_refused(project: Callable[..., Path]) -> None:
    nowhere = {"images": "code/ingest.json", "table": "code/ingest.json", "photos": "code/ingest.json"}
    root = project({"kind": "folder", "path": "set"}, reads={"source": nowhere, "target": nowhere})
    with pytest.raises(ParameterError, match=r"data\.reads\.source: does not cover set, .* `repflow compose`"):
        ingest.run("source")
    assert not (root / "data").exists()


def test_home_is_expanded(project: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    root = project({"kind": "folder", "path": "~/set"})
    monkeypatch.setenv("HOME", str(root / "home"))
    (root / "home/set/cat").mkdir(parents=True)
    Image.new("RGB", (9, 9)).save(root / "home/set/cat/1.png")
    ingest.run("source")
    assert len(open_store(root / "data/stores/source").images) == 1


def folders(root: Path, **sides: int) -> None:
    for name, side in sides.items():
        (root / name / "cat").mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (side, side)).save(root / name / "cat/1.png")


def test_the_target_has_the_size_that_was_found_in_the_source(
    project: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    root = project({"kind": "folder", "path": "one"}, {"kind": "folder", "path": "two"}, size=None)
    folders(root, one=40, two=90)
    caplog.set_level("INFO", "repflow")
    with pytest.raises(DataError, match=r"data/stores/source: not a readable store .* run `dvc repro`"):
        ingest.run("target")
    ingest.run("source")
    folders(root, one=80)  # what the store has is what counts
    ingest.run("target")
    assert "ingest@source: images of 40 pixels, as the median" in caplog.text
    assert "ingest@target: images of 40 pixels, as those of the source" in caplog.text
    assert open_store(root / "data/stores/target").images.shape == (1, 3, 40, 40)


def test_dvc_makes_the_target_again_when_the_source_has_another_size(tmp_path: Path) -> None:
    """The graph as in dvc.yaml, with conf/ composed to params.yaml."""
    (tmp_path / "src").symlink_to(ROOT / "src")
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    graph = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": {name: graph[name] for name in ("code", "ingest")}}))
    folders(tmp_path, one=40, two=90)
    run = functools.partial(subprocess.run, cwd=tmp_path, capture_output=True, text=True, check=True)
    run([sys.executable, "-m", "dvc", "init", "--no-scm", "-q"])
    choices = ["data=folder", "data.source.path=one", "data.target.path=two"]
    run([sys.executable, "-c", "from repflow.cli.app import app; app()", "compose", *choices])
    for side, size in ((40, 40), (90, 64)):
        folders(tmp_path, one=side)
        run([sys.executable, "-m", "dvc", "repro", "ingest@target"])
        for domain in ("source", "target"):
            assert open_store(tmp_path / "data/stores" / domain).images.shape[-1] == size
    status = run([sys.executable, "-m", "dvc", "status", "--json"]).stdout
    assert status.strip() == "{}"


@pytest.mark.parametrize(
    ("source", "data", "message"),
    [
        ({"kind": "digts"}, {}, r"data\.source\.kind: \"digts\" is not allowed; did you mean 'digits'\?"),
        ({"kind": "digits", "strat": 0.1}, {}, r"data\.source\.strat: unknown parameter; did you mean 'start'\?"),
        ({"kind": "digits", "start": 1.5}, {}, r"data\.source\.start: 1\.5 is not allowed"),
        (DIGITS, {"size": 4}, r"data\.size: 4 is not allowed; .* greater than or equal to 8"),
        (DIGITS, {"size": 1024}, r"data\.size: 1024 is not allowed"),
        (DIGITS, {"channels": 2}, r"data\.channels: 2 is not allowed; input should be 1 or 3"),
        (
            DIGITS,
            {"resize": "fit"},
            r"data\.resize: \"fit\" is not allowed; input should be 'crop', 'pad' or 'stretch'",
        ),
        (DIGITS, {"sise": 32}, r"data\.sise: unknown parameter; did you mean 'size'\?"),
    ],
)
def test_a_parameter_that_does_not_fit_is_refused(
    project: Callable[..., Path], source: Data, data: Data, message: str
) -> None:
    root = project(source, **data)
    with pytest.raises(ParameterError, match=message):
        ingest.run("source")
    assert not (root / "data").exists()


def test_a_failed_ingest_keeps_the_previous_store(project: Callable[..., Path]) -> None:
    root = project(DIGITS)
    ingest.run("source")
    project({"kind": "folder", "path": "nowhere"})
    with pytest.raises(DataError, match="nowhere: no such folder"):
        ingest.run("source")
    assert len(open_store(root / "data/stores/source").images) == 180


def test_a_user_error_ends_in_one_message_and_its_exit_code(project: Callable[..., Path]) -> None:
    ended = command(project({"kind": "folder", "path": "nowhere"}))
    assert ended.returncode == 3
    assert "nowhere: no such folder; check `data.root` and the `path` of the source" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert command(project({"kind": "digts"})).returncode == 2


def test_a_full_disk_ends_in_one_message_and_leaves_nothing(project: Callable[..., Path]) -> None:
    root = project(DIGITS)
    limit = 50_000  # bytes that a file may have; the images have 138,240

    ended = command(root, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
    assert ended.returncode == 5
    assert "data/stores/source: cannot be written (File too large); no partial file was left" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert leftovers(root) == []


@pytest.mark.parametrize("size", ["64k", "150k"])  # too small for the images; too small for images and manifest
def test_a_really_full_disk_ends_in_one_message_and_leaves_nothing(project: Callable[..., Path], size: str) -> None:
    root = project(DIGITS)
    (root / "data/stores").mkdir(parents=True)
    mount = f"mount -t tmpfs -o size={size} none data/stores"
    own = ["unshare", "--mount", "--map-root-user", "sh", "-c"]
    if (
        not shutil.which("unshare")
        or subprocess.run([*own, mount], cwd=root, capture_output=True, check=False).returncode
    ):
        pytest.skip("a test may not mount a file system on this machine")
    script = f'{mount} && "$0" -c "$1"; echo "ended with $?, left $(ls -A data/stores)"'
    ended = subprocess.run([*own, script, sys.executable, RUN], cwd=root, capture_output=True, text=True, check=False)
    assert "cannot be written (No space left on device); no partial file was left" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.stdout.splitlines()[-1] == "ended with 5, left "


@pytest.mark.parametrize("before", [False, True])
def test_a_killed_ingest_leaves_no_partial_store(project: Callable[..., Path], before: bool) -> None:
    root = project(DIGITS)
    if before:
        ingest.run("source")
    with subprocess.Popen([sys.executable, "-c", HALF], cwd=root) as child:
        while not (root / "writing").exists():
            assert child.poll() is None
        os.kill(child.pid, signal.SIGKILL)
    assert ".source.shards" in leftovers(root)
    if before:
        assert len(open_store(root / "data/stores/source").images) == 180
    else:
        with pytest.raises(DataError, match="not a readable store"):
            open_store(root / "data/stores/source")
    ingest.run("source")
    assert leftovers(root) == ["source"]
    assert np.asarray(open_store(root / "data/stores/source").images).any()
