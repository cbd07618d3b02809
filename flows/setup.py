"""Sets up a Prefect server: concurrency limits, work pools and deployments.

    python flows/setup.py --cpu 8 --gpu 1     # on the server that PREFECT_API_URL names

Run it again after a change of prefect.yaml or of the options in conf/.
"""

import argparse
import importlib
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.client.schemas.objects import ConcurrencyOptions
from prefect.exceptions import ObjectNotFound
from prefect.utilities.callables import parameter_schema

from concurrency import LIMITS, ServerUnavailable, create_limits
from kept_settings import declared_settings, merged
from parameters import PROJECT
from repflow.cli.surroundings import take_every_character

POOLS = {"cpu": "Machines that train on the CPU.", "gpu": "Machines with a CUDA GPU."}
"""Work pools and their descriptions."""

# By default a process work pool lets whoever starts a flow run set its command, environment variables and working
# directory. Here nothing can be set: a flow run executes the code in the worker's checkout.
TEMPLATE: dict[str, Any] = {
    "job_configuration": {"stream_output": True},
    "variables": {"type": "object", "properties": {}, "additionalProperties": False},
}


def set_up(limits: Mapping[str, int | None], exclusive: bool = False) -> None:
    """Create or update what the flows need on the server that PREFECT_API_URL names; prints what is kept there.

    Args:
        limits: as in `create_limits`.
        exclusive: as in `create_limits`.
    """
    create_limits(limits, exclusive)
    create_pools()
    for line in deploy(PROJECT):
        print(line, flush=True)


def create_pools() -> None:
    """Create the work pools, or update their job templates."""
    with get_client(sync_client=True) as client:
        for name, about in POOLS.items():
            try:
                client.read_work_pool(name)
            except ObjectNotFound:
                pool = WorkPoolCreate(name=name, type="process", description=about, base_job_template=TEMPLATE)
                client.create_work_pool(pool)
            else:
                client.update_work_pool(name, WorkPoolUpdate(description=about, base_job_template=TEMPLATE))


def deploy(project: Path) -> list[str]:
    """Create or update the deployments of prefect.yaml on the server.

    What people have set there stays: default parameters, schedules, concurrency limits, tags, pauses. Everything else
    becomes what the file declares. `prefect deploy --all` of Prefect 3.9.1 would reset all of it, delete schedules that
    people have added, and replace REPFLOW_PROJECT by the folder on this machine rather than the worker's.

    Returns:
        One line for each setting that is not what the file declares.
    """
    declared = yaml.safe_load((project / "prefect.yaml").read_text(encoding="utf-8"))
    said = []
    with get_client(sync_client=True) as client:
        for entry in declared["deployments"]:
            file, _, name = entry["entrypoint"].partition(":")
            flow = getattr(importlib.import_module(Path(file).stem), name)
            schema = {**parameter_schema(flow).model_dump_for_openapi(), "additionalProperties": False}
            settings = declared_settings(entry)
            title = f"{flow.name}/{entry['name']}"
            with suppress(ObjectNotFound):
                settings, differences = merged(settings, client.read_deployment_by_name(title), schema)
                said += [f"{title}: {each}" for each in differences]
            client.create_deployment(
                client.create_flow(flow),
                entry["name"],
                entrypoint=entry["entrypoint"],
                description=entry["description"],
                tags=list(settings.tags),
                parameters=dict(settings.parameters),
                parameter_openapi_schema=schema,
                enforce_parameter_schema=True,
                pull_steps=declared["pull"],
                work_pool_name=entry["work_pool"]["name"],
                concurrency_limit=settings.limit,
                concurrency_options=ConcurrencyOptions(collision_strategy=settings.strategy),
                schedules=list(settings.schedules),
            )
    return said


def main() -> int:
    """Set up the server that PREFECT_API_URL names."""
    take_every_character()
    parser = argparse.ArgumentParser(description="Create limits, work pools and deployments on a Prefect server.")
    for kind in LIMITS:
        parser.add_argument(f"--{kind}", type=int, help=f"concurrency limit of {kind} stages, over all flow runs")
    given = parser.parse_args()
    if "PREFECT_API_URL" not in os.environ:
        print("error: set PREFECT_API_URL, for example to http://127.0.0.1:4200/api", file=sys.stderr)
        return 2
    try:
        set_up({kind: getattr(given, kind) for kind in LIMITS})
    except ServerUnavailable as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{os.environ['PREFECT_API_URL']}: limits, work pools and deployments are set up")
    return 0


if __name__ == "__main__":
    sys.exit(main())
