"""The contents of a revision for a comparison, read with DVC: metrics, parameters, plots and dvc.lock."""

import io
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from repflow.errors import DataError
from repflow.review.code import Fingerprints, recorded
from repflow.review.estimates import Estimate, estimates
from repflow.review.record import stale_stages
from repflow.review.revisions import Revision
from repflow.review.stages import flat

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Curve:
    """A training curve: a table by step, and the columns that dvc.yaml plots."""

    table: "pd.DataFrame"
    x: str
    y: str


@dataclass(frozen=True)
class Confusion:
    """Actual and predicted class of every test row.

    Attributes:
        actual: str [N].
        predicted: str [N].
        groups: int64 [N], the group of each row; None if there are no groups.
        tested_on: the hashes in dvc.lock of the data that its stage reads; two revisions have the same test rows if
            these and `actual` are equal.
    """

    actual: np.ndarray
    predicted: np.ndarray
    groups: np.ndarray | None
    tested_on: Mapping[str, str]

    @property
    def right(self) -> np.ndarray:
        """Which predictions are correct: bool [N]."""
        right: np.ndarray = self.actual == self.predicted
        return right

    def same_rows(self, other: "Confusion") -> bool:
        """Whether both have the same test rows."""
        return self.tested_on == other.tested_on and np.array_equal(self.actual, other.actual)


@dataclass(frozen=True)
class Snapshot:
    """The contents of one revision.

    Attributes:
        revision: the revision.
        metrics: file to name to estimate.
        parameters: name to value, with dots between levels.
        curves: file to curve.
        confusions: file to actual and predicted classes.
        lock: `stages` of dvc.lock.
        code: the fingerprints in `code/`: path to module to digest.
        stale: stages whose metrics do not match the code or parameters of the revision, with the differences.
        missing: metrics files in dvc.yaml that cannot be read.
    """

    revision: Revision
    metrics: Mapping[str, Mapping[str, Estimate]]
    parameters: Mapping[str, Any]
    curves: Mapping[str, Curve] = field(default_factory=dict)
    confusions: Mapping[str, Confusion] = field(default_factory=dict)
    lock: Mapping[str, Any] = field(default_factory=dict)
    code: Fingerprints = field(default_factory=dict)
    stale: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    missing: tuple[str, ...] = ()


def read_snapshot(repo: Any, revision: Revision) -> Snapshot:
    """Read a revision without checking it out; needs no data.

    Raises:
        DataError: the revision has no DVC project, or one that DVC cannot read.
    """
    from dvc.exceptions import DvcException

    try:
        with repo.switch(revision.commit) if revision.commit else nullcontext():
            return _read(repo, revision)
    except (DvcException, yaml.YAMLError) as error:
        raise DataError(f"{revision}: its DVC project cannot be read: {error}") from error


def _read(repo: Any, revision: Revision) -> Snapshot:
    stale = stale_stages(repo)  # first, because it fails at once if dvc.yaml cannot be read
    metrics = _of_current(repo.metrics.show())
    lock = _lock(repo)
    plots = dict(_plots(repo))
    return Snapshot(
        revision,
        {path: estimates(each["data"]) for path, each in metrics.items() if "data" in each},
        _parameters(_of_current(repo.params.show())),
        {path: curve for path, each in plots.items() if (curve := _curve(path, *each)) is not None},
        {path: found for path, each in plots.items() if (found := _confusion(*each, lock)) is not None},
        lock,
        recorded(repo),
        stale,
        tuple(path for path, each in metrics.items() if "error" in each),
    )


def _of_current(shown: Mapping[str, Any]) -> dict[str, Any]:
    """The part of DVC's output about the revision that the repository is switched to."""
    found: dict[str, Any] = next(iter(shown.values()), {})
    if "error" in found:
        raise found["error"]
    data: dict[str, Any] = found.get("data", {})
    return data


def _lock(repo: Any) -> Mapping[str, Any]:
    path = repo.fs.join(repo.root_dir, "dvc.lock")
    if not repo.fs.exists(path):
        return {}
    with repo.fs.open(path, encoding="utf-8") as file:
        content: Mapping[str, Any] = yaml.load(file, getattr(yaml, "CSafeLoader", yaml.SafeLoader)) or {}
    stages: Mapping[str, Any] = content.get("stages", {})
    return stages


def _parameters(files: Mapping[str, Any]) -> dict[str, Any]:
    names: dict[str, Any] = {}
    for path, each in files.items():
        names |= dict(flat(each.get("data", {}), "" if path == "params.yaml" else path))
    return names


def _plots(repo: Any) -> Iterator[tuple[str, tuple["pd.DataFrame", Mapping[str, Any], Any]]]:
    """The tables that dvc.yaml lists as plots: path, then content, properties and stage."""
    import pandas as pd

    for stage in repo.index.stages:
        for out in stage.outs:
            if isinstance(out.plot, Mapping) and not out.use_cache and repo.fs.exists(out.fs_path):
                paths = repo.fs.find(out.fs_path) if repo.fs.isdir(out.fs_path) else [out.fs_path]
                for path in sorted(paths):
                    name = PurePosixPath(repo.fs.relpath(path, repo.root_dir)).as_posix()
                    separator = {".csv": ",", ".tsv": "\t"}.get(PurePosixPath(name).suffix)
                    if separator:
                        with repo.fs.open(path, encoding="utf-8") as file:
                            table = pd.read_csv(io.StringIO(file.read()), sep=separator, dtype=_TYPES, na_values=[""])
                        yield name, (table, out.plot, stage)


_TYPES = {"actual": str, "predicted": str}


def _curve(path: str, table: "pd.DataFrame", properties: Mapping[str, Any], stage: Any) -> Curve | None:
    x, y = properties.get("x"), properties.get("y")
    drawn = properties.get("template", "linear") in ("linear", "simple", "smooth")
    if not drawn or x not in table or y not in table or not len(table):
        return None
    return Curve(table, str(x), str(y))


def _confusion(
    table: "pd.DataFrame", properties: Mapping[str, Any], stage: Any, lock: Mapping[str, Any]
) -> Confusion | None:
    import pandas as pd

    x, y = properties.get("x"), properties.get("y")
    if not str(properties.get("template")).startswith("confusion") or x not in table or y not in table:
        return None
    entry = lock.get(stage.name, {})
    tested_on = {dep["path"]: str(dep.get("md5")) for dep in entry.get("deps", ()) if dep["path"].startswith("data/")}
    groups = pd.factorize(table["group"])[0] if "group" in table and table["group"].duplicated().any() else None
    return Confusion(table[x].to_numpy(str), table[y].to_numpy(str), groups, tested_on)
