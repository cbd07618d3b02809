"""What a run's worktree needs from the checkout: DVC's cache and remotes, its parameters, and the images.

A worktree holds what git tracks. Images that DVC tracks are checked out from the cache that both share; folders that
neither tracks are linked. What cannot mean the same there as in the checkout is refused before a stage starts.
"""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from repflow.data.ingest.sources.formats import is_image_name
from repflow.data.ingest.sources.recognition import form_of, is_metadata
from repflow.data.watched import SIZE, UNWATCHED
from repflow.errors import ParameterError, RepflowError
from repflow.files import writing
from repflow.runs.repository import Repository


def share_storage(repository: Repository, folder: Path) -> None:
    """Let the project in `folder` use the checkout's cache, remotes and data/raw."""
    from configobj import ConfigObj
    from dvc.repo import Repo

    local = repository.project / ".dvc" / "config.local"
    with Repo(str(repository.project)) as repo, writing(folder / ".dvc" / "config.local") as fresh:
        config = ConfigObj(str(local) if local.exists() else None, encoding="utf-8", default_encoding="utf-8")
        config.filename = str(fresh)
        config.setdefault("cache", {})["dir"] = repo.cache.local_cache_dir
        # DVC's site cache is keyed by the project's path and would remain after the worktree is deleted.
        config.setdefault("core", {})["site_cache_dir"] = str(folder / ".dvc" / "tmp" / "site")
        for name, remote in repo.config["remote"].items():  # with paths resolved relative to the checkout
            config.setdefault(f'remote "{name}"', {})["url"] = remote["url"]
        if repo.config["core"].get("remote"):
            config["core"]["remote"] = repo.config["core"]["remote"]
        config.write()
        os.chmod(fresh, 0o600)  # it may contain credentials
    _link(repository, folder, "data/raw")


def compose(folder: Path, overrides: Sequence[str], environment: Mapping[str, str]) -> None:
    """Compose the params.yaml of the project in `folder` with its own code.

    Raises:
        ParameterError: the overrides are not allowed; the message is that of `repflow compose`.
    """
    command = [sys.executable, "-c", "from repflow.cli.app import app; app()", "compose", "--", *overrides]
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **environment, "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        encoding="utf-8",
        errors="replace",
    )
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise ParameterError(
            "\n".join(lines).removeprefix("error: ") or f"repflow compose: exit code {done.returncode}"
        )


def provide_images(repository: Repository, folder: Path) -> None:
    """Bring what the parameters of the project in `folder` let DVC watch to where they say it is.

    Raises:
        ParameterError: a path leads out of the checkout, or to images that neither git nor DVC tracks.
        RepflowError: DVC cannot check out images; the message is DVC's own.
    """
    parameters = yaml.safe_load((folder / "params.yaml").read_text(encoding="utf-8"))
    for place in sorted(set(_watched(parameters))):
        outside = os.path.normpath(repository.project / place)
        if not Path(outside).is_relative_to(repository.top):
            raise ParameterError(
                f"{place}: leads out of the checkout, and a run in a worktree of its own would look elsewhere; give the"
                f" absolute path {outside}"
            )
        tracked = _tracked_by_dvc(folder, place)
        if tracked:
            dvc(folder, "checkout", *(stage for stage, _ in tracked))
        if not _link(repository, folder, place):
            _check_complete(repository, place, [out for _, out in tracked])


def dvc(folder: Path, *arguments: str) -> None:
    """Run DVC in `folder`.

    Raises:
        RepflowError: DVC failed; the message is DVC's own.
    """
    command = [sys.executable, "-m", "dvc", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, encoding="utf-8", errors="replace")
    if done.returncode:
        said = done.stderr.partition("ERROR: ")[2] or done.stderr
        raise RepflowError(f"dvc {arguments[0]}: {' '.join(said.split()) or f'exit code {done.returncode}'}")


def _watched(parameters: Any) -> Iterator[str]:
    """The relative paths in `data.reads`, without what a stage makes."""
    data = parameters.get("data") if isinstance(parameters, Mapping) else None
    reads = data.get("reads") if isinstance(data, Mapping) else None
    for domain in reads.values() if isinstance(reads, Mapping) else ():
        for place in domain.values() if isinstance(domain, Mapping) else ():
            if place not in (UNWATCHED, SIZE) and not os.path.isabs(place):
                yield place


def _tracked_by_dvc(folder: Path, place: str) -> list[tuple[str, str]]:
    """The `.dvc` files, relative to `folder`, with outputs that contain `place` or lie below it; and these outputs."""
    from dvc.repo import Repo

    wanted = Path(os.path.normpath(folder / place))
    with Repo(str(folder)) as repo:
        return [
            (os.path.relpath(stage.path, folder), os.path.relpath(out.fs_path, folder))
            for stage in repo.index.stages
            if stage.is_data_source
            for out in stage.outs
            if wanted.is_relative_to(out.fs_path) or Path(out.fs_path).is_relative_to(wanted)
        ]


def _link(repository: Repository, folder: Path, place: str) -> bool:
    """Link what the checkout has at `place` and the worktree lacks; returns whether it did, now or before."""
    there, here = repository.project / place, folder / place
    if there.exists() and not here.exists():
        here.parent.mkdir(parents=True, exist_ok=True)
        here.symlink_to(there.resolve(), target_is_directory=there.is_dir())
    return here.is_symlink()


def _is_data(path: str) -> bool:
    """Is this file an image, or a file of one of the forms that hold or list images?"""
    return is_image_name(path) or is_metadata(path) or form_of([path]) is not None


def _check_complete(repository: Repository, place: str, outs: Sequence[str]) -> None:
    """Refuse a folder of which git tracks a part only: the worktree lacks the other part."""
    others = repository.git("ls-files", "--others", "-z", "--", place).split("\0")
    missing = [path for path in others if _is_data(path) and not any(Path(path).is_relative_to(out) for out in outs)]
    if missing:
        raise ParameterError(
            f"{place}: a run starts from the last commit, which lacks {len(missing):,} of its images, such as"
            f" {missing[0]}; commit them or `dvc add` them, or give the folder by its absolute path"
        )
