"""The stage `ingest@DOMAIN`: decode every image of a domain once and pack it into `data/stores/DOMAIN/`.

On this machine, or on the Dask cluster that REPFLOW_DASK names.
"""

import dataclasses
import logging
from pathlib import Path

from repflow.data.ingest.ingestion import DataConfig, ingest
from repflow.data.store import open_store
from repflow.data.watched import check_watched, with_home
from repflow.schema import build
from repflow.stages import parameters, paths
from repflow.stages.linked_cache import linked_caches
from repflow.stages.on_dask import chosen_decoders

log = logging.getLogger("repflow")


def run(domain: str) -> None:
    """Write the store of `domain`, "source" or "target".

    Raises:
        ParameterError: a parameter is not allowed, or DVC does not watch what this would read.
        DataError: the size of the target's images follows from the source, whose store is not there.
    """
    given = parameters.read_raw("data")
    parameters.read("data", DataConfig)
    check_watched(given, domain)
    config = build(DataConfig, with_home(given), f"{paths.PARAMETERS}: data")
    if config.size is None and domain == "target":
        # `ingest@source` has looked at its images, and DVC watches its store.
        config = dataclasses.replace(config, size=open_store(paths.STORES / "source").images.shape[-1])
        log.info("ingest@target: images of %d pixels, as those of the source", config.size)
    folder = paths.STORES / domain
    ingest(config, domain, parameters.seed(), Path(config.root), folder, linked_caches, chosen_decoders())
