"""Sets up a Prefect server: concurrency limits, work pools and deployments.

    python flows/setup.py --cpu 8 --gpu 1     # on the server that PREFECT_API_URL names

Run it again after a change of prefect.yaml or of the options in conf/.
"""

import argparse
import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate, WorkPoolCreate, WorkPoolUpdate
from prefect.client.schemas.objects import ConcurrencyOptions, DeploymentSchedule
from prefect.client.schemas.schedules import CronSchedule
from prefect.exceptions import ObjectNotFound
from prefect.utilities.callables import parameter_schema

from concurrency import LIMITS, ServerUnavailable, create_limits
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
    """Create or update what the flows need on the server that PREFECT_API_URL names.

    Args:
        limits: as in `create_limits`.
        exclusive: as in `create_limits`.
    """
    create_limits(limits, exclusive)
    create_pools()
    deploy(PROJECT)


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


def deploy(project: Path) -> None:
    """Create or update the deployments of prefect.yaml on the server.

    `prefect deploy --all` of Prefect 3.9.1 would also deactivate schedules that people have activated in the UI, delete
    those that they have added, and replace REPFLOW_PROJECT by the folder on this machine rather than the worker's.
    """
    declared = yaml.safe_load((project / "prefect.yaml").read_text(encoding="utf-8"))
    with get_client(sync_client=True) as client:
        for entry in declared["deployments"]:
            file, _, name = entry["entrypoint"].partition(":")
            flow = getattr(importlib.import_module(Path(file).stem), name)
            client.create_deployment(
                client.create_flow(flow),
                entry["name"],
                entrypoint=entry["entrypoint"],
                description=entry["description"],
                tags=entry["tags"],
                parameters=entry.get("parameters"),
                parameter_openapi_schema={
                    **parameter_schema(flow).model_dump_for_openapi(),
                    "additionalProperties": False,
                },
                enforce_parameter_schema=True,
                pull_steps=declared["pull"],
                work_pool_name=entry["work_pool"]["name"],
                concurrency_limit=entry["concurrency_limit"]["limit"],
                concurrency_options=ConcurrencyOptions(
                    collision_strategy=entry["concurrency_limit"]["collision_strategy"]
                ),
                schedules=_schedules(entry["schedules"], _scheduled(client, f"{flow.name}/{entry['name']}")),
            )


def _scheduled(client: SyncPrefectClient, name: str) -> list[DeploymentSchedule]:
    """The schedules that a deployment has on the server; none for a new deployment."""
    try:
        return client.read_deployment_by_name(name).schedules
    except ObjectNotFound:
        return []


def _schedules(
    declared: Sequence[Mapping[str, Any]], there: Sequence[DeploymentSchedule]
) -> list[DeploymentScheduleCreate]:
    """The declared schedules, active or not as on the server, and those that people have added there.

    Prefect replaces all schedules of a deployment by those in the request.
    """
    active = {each.slug: each.active for each in there}
    slugs = [each["slug"] for each in declared]
    added = [
        DeploymentScheduleCreate(schedule=each.schedule, active=each.active, slug=each.slug, parameters=each.parameters)
        for each in there
        if each.slug not in slugs
    ]
    return added + [
        DeploymentScheduleCreate(
            schedule=CronSchedule(cron=each["cron"], timezone=each["timezone"]),
            active=active.get(each["slug"], each["active"]),
            slug=each["slug"],
        )
        for each in declared
    ]


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
