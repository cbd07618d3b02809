"""Which stages `dvc repro` would run."""

import logging
from collections.abc import Iterable
from pathlib import Path

import networkx

from repflow.fingerprints import Files, differences
from repflow.stages import code, parameters, paths

log = logging.getLogger("repflow")


def outdated() -> set[str] | None:
    """Addresses, as "adapt@dann", of the stages that are not up to date, and of those that depend on them.

    A stage whose code changed counts, also where `code` has not run since; a changed comment does not.

    Returns:
        None where the working directory is no DVC project, or its status cannot be read.
    """
    if not Path("dvc.yaml").is_file():
        return None
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo() as repo:
            graph = networkx.relabel_nodes(repo.index.graph, {node: node.addressing for node in repo.index.graph})
            changed = set(repo.status()) & set(graph)
    except (DvcException, OSError) as error:
        log.warning("plan: dvc status: %s; every stage counts as one that runs", error)
        return None
    spreading = (changed | set(_changed_code(graph))) - {"code"}  # `code` also runs for a comment
    return (changed | spreading).union(*(networkx.ancestors(graph, address) for address in spreading))


def _changed_code(addresses: Iterable[str]) -> Iterable[str]:
    """The stages whose code is not what `code/` says."""
    found = code.fingerprints(parameters.read_all(), Files(paths.SOURCE))
    for address in addresses:
        stage, _, entry = address.partition("@")
        name = f"adapt/{entry}" if stage == "adapt" else stage
        path = paths.CODE / f"{name}.json"
        if name in found and (not path.exists() or differences(code.read(path), found[name])):
            yield address
