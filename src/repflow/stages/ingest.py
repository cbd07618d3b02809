"""The stage `ingest@DOMAIN`: decode every image of a domain once and pack it into `data/stores/DOMAIN/`."""

from pathlib import Path

from repflow.data.ingest.ingestion import DataConfig, ingest
from repflow.stages import parameters, paths
from repflow.stages.linked_cache import linked_caches


def run(domain: str) -> None:
    """Write the store of `domain`, "source" or "target"."""
    config = parameters.read("data", DataConfig)
    ingest(config, domain, parameters.seed(), Path(config.root), paths.STORES / domain, linked_caches)
