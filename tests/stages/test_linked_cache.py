"""Links into DVC's cache are files of the project; other links that lead out are not."""

import os
from pathlib import Path

import pytest
import yaml
from PIL import Image

from repflow.data.store import open_store
from repflow.errors import DataError
from repflow.stages import ingest
from repflow.stages.linked_cache import linked_caches

CACHED = "files/md5/ab/cdef"


def make_project(folder: Path, cache: Path | None = None, where: str = "config") -> Path:
    """A folder with DVC's configuration; with its cache elsewhere where one is given. Returns the cache."""
    (folder / ".dvc").mkdir(parents=True)
    (folder / ".dvc/config").touch()
    if cache is not None:
        (folder / ".dvc" / where).write_text(f"[cache]\n    dir = {cache}\n")
    return folder / ".dvc/cache" if cache is None else cache


def link_image(cache: Path, link: Path, colour: int = 0) -> None:
    """Put an image into a cache, and a link to it where the image would be."""
    place = cache / f"{CACHED}{colour}"
    place.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (9, 9), (colour, 0, 0)).save(place, "PNG")
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(place)


def configure(source: dict[str, str]) -> None:
    data = {"size": 16, "channels": 3, "resize": "stretch", "source": source, "target": {"kind": "none"}}
    Path("params.yaml").write_text(yaml.safe_dump({"seed": 0, "data": data}))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, a project still without DVC."""
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize("elsewhere", [None, "config", "config.local"])
@pytest.mark.parametrize("kind", ["folder", "table"])
def test_images_that_are_links_into_the_cache_are_read(
    project: Path, tmp_path: Path, elsewhere: str | None, kind: str
) -> None:
    cache = make_project(project, tmp_path / "shared cache" if elsewhere else None, elsewhere or "config")
    link_image(cache, project / "images/cat/1.png")
    (project / "images/table.csv").write_text("path\ncat/1.png\n")
    configure({"kind": kind, "path": "images" if kind == "folder" else "images/table.csv"})
    ingest.run("source")
    assert len(open_store(project / "data/stores/source").images) == 1


def test_images_of_another_project_may_be_links_into_its_cache(project: Path, tmp_path: Path) -> None:
    make_project(project)
    link_image(make_project(tmp_path / "other"), tmp_path / "other/images/cat/1.png")
    configure({"kind": "folder", "path": str(tmp_path / "other/images")})
    ingest.run("source")
    assert len(open_store(project / "data/stores/source").images) == 1


def test_a_cache_that_is_a_link_itself_is_known(project: Path, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    cache = make_project(project)
    cache.symlink_to(tmp_path / "disk")
    link_image(cache, project / "images/cat/1.png")
    configure({"kind": "folder", "path": "images"})
    ingest.run("source")


def test_a_link_beside_the_cache_is_refused(project: Path, tmp_path: Path) -> None:
    make_project(project, tmp_path / "cache")
    for place in (tmp_path / "cache2", project / ".dvc/tmp", tmp_path):
        link_image(place, project / "images/cat/1.png")
        configure({"kind": "folder", "path": "images"})
        with pytest.raises(DataError, match=r"the link .*cat/1\.png: leads out of"):
            ingest.run("source")
        (project / "images/cat/1.png").unlink()


def test_a_path_of_a_table_into_the_cache_is_refused(project: Path) -> None:
    cache = make_project(project)
    link_image(cache, project / "images/cat/1.png")
    (project / "images/table.csv").write_text(f"path\n{os.path.relpath(cache / CACHED, project / 'images')}0\n")
    configure({"kind": "table", "path": "images/table.csv"})
    with pytest.raises(DataError, match=r"line 2: .*: leads out of"):
        ingest.run("source")


def test_images_cannot_declare_a_cache_themselves(project: Path, tmp_path: Path) -> None:
    images = tmp_path / "downloaded"
    make_project(images, tmp_path / "secrets")
    link_image(tmp_path / "secrets", images / "cat/1.png")
    configure({"kind": "folder", "path": str(images)})
    with pytest.raises(DataError, match="leads out of"):
        ingest.run("source")


def test_the_nearest_project_around_each_is_asked(project: Path, tmp_path: Path) -> None:
    make_project(tmp_path, tmp_path / "outermost")
    inner = make_project(project)
    assert linked_caches(project / "images") == (inner,)
    assert linked_caches(tmp_path / "images") == (inner, tmp_path / "outermost")


def test_without_projects_nothing_is_allowed(project: Path) -> None:
    assert linked_caches(project / "images") == ()
