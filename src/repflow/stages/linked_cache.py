"""Where links in a folder of images may lead to: DVC's cache, to which `cache.type symlink` makes links."""

from pathlib import Path


def linked_caches(folder: Path) -> tuple[Path, ...]:
    """The caches of the projects that hold the working directory or `folder`.

    A DVC project that is `folder` itself or lies in it is not asked: images of unknown origin could bring a
    configuration along that declares any folder to be a cache.

    Args:
        folder: a folder of images, absolute and without symbolic links.
    """
    here = Path.cwd()
    places = [*(place for place in (here, *here.parents) if _is_project(place))][:1]
    places += [*(place for place in folder.parents if _is_project(place))][:1]
    return tuple(dict.fromkeys(_cache(place).resolve() for place in places))


def _is_project(place: Path) -> bool:
    return (place / ".dvc").is_dir()


def _cache(project: Path) -> Path:
    """The cache of a DVC project; where DVC is not installed, the one that it has by default."""
    folder = project / ".dvc"
    try:
        from dvc.config import Config
    except ImportError:
        return folder / "cache"
    set_elsewhere = Config(dvc_dir=str(folder), validate=False)["cache"].get("dir")
    return Path(set_elsewhere) if set_elsewhere else folder / "cache"
