"""Reads the DVC graph: the stages of a project, their dependencies and outputs."""

import fnmatch
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import networkx
import yaml
from dvc.repo import Repo
from dvc.stage import PipelineStage


@dataclass(frozen=True)
class Stage:
    """One stage of the graph.

    Attributes:
        address: its name for `dvc repro`, such as "adapt@dann".
        level: 0 for a stage without upstream stages, else one more than the highest level of those.
        upstream: addresses of the stages whose outputs it depends on.
        outputs: files and folders that it writes, relative to the project.
        metrics: the outputs that are DVC metrics.
        slot: the concurrency limit of which it occupies a slot: "gpu" where it depends on the parameters `hardware` and
            these name a GPU, else "cpu".
        fingerprints: files in code/ that it depends on, relative to the project.
    """

    address: str
    level: int
    upstream: tuple[str, ...]
    outputs: tuple[str, ...]
    metrics: tuple[str, ...]
    slot: str
    fingerprints: tuple[str, ...] = ()


def read_graph(project: Path, targets: Iterable[str] = ()) -> dict[str, Stage]:
    """The stages of the project in topological order, by address.

    Args:
        project: the folder with dvc.yaml; of a DVC repository that has several, the others are there too.
        targets: addresses ("adapt@dann"), patterns of them ("adapt@*") or names of groups ("adapt"); only these stages
            and what they depend on are returned. Empty means the whole graph.

    Raises:
        ValueError: a target is not in the graph.
        dvc.exceptions.DvcException: the project has no dvc.yaml, or an invalid one.
    """
    with Repo(str(project)) as repo:
        addresses = {node: _address(node, project) for node in repo.index.graph}
        graph = networkx.relabel_nodes(repo.index.graph.reverse(), addresses)  # from upstream to downstream
        nodes = {address: node for node, address in addresses.items()}
        wanted = _with_upstream(graph, targets)
        accelerator = _accelerator(project)
        return {
            address: Stage(
                address,
                level,
                tuple(sorted(graph.predecessors(address))),
                tuple(sorted(os.path.relpath(out.fs_path, project) for out in nodes[address].outs)),
                tuple(sorted(os.path.relpath(out.fs_path, project) for out in nodes[address].outs if out.metric)),
                _slot(nodes[address], accelerator),
                tuple(dep.def_path for dep in nodes[address].deps if dep.def_path.startswith("code/")),
            )
            for level, generation in enumerate(networkx.topological_generations(graph))
            for address in sorted(generation)
            if address in wanted
        }


def _address(node: PipelineStage, project: Path) -> str:
    """The stage's address relative to the project; DVC's own `addressing` is relative to the working directory."""
    path = os.path.relpath(node.path, project)
    name: str | None = getattr(node, "name", None)
    if name is None:
        return path
    return name if path == "dvc.yaml" else f"{path}:{name}"


def _accelerator(project: Path) -> str:
    """The `hardware.accelerator` of `params.yaml`."""
    path = project / "params.yaml"
    parameters = yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else None
    return str(((parameters or {}).get("hardware") or {}).get("accelerator", "cpu"))


def _slot(stage: PipelineStage, accelerator: str) -> str:
    uses_hardware = any("hardware" in getattr(dep, "params", ()) for dep in stage.deps)
    return "gpu" if uses_hardware and accelerator != "cpu" else "cpu"


def _with_upstream(graph: "networkx.DiGraph", targets: Iterable[str]) -> set[str]:
    wanted: set[str] = set()
    for target in targets:
        named = [each for each in graph if fnmatch.fnmatchcase(each, target) or each.split("@")[0] == target]
        if not named:
            raise ValueError(f"{target}: no such stage (there are: {', '.join(sorted(graph))})")
        wanted.update(named, *(networkx.ancestors(graph, address) for address in named))
    return wanted or set(graph)
