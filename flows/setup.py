"""Makes a Prefect server ready: the machine's slots, a work pool for each kind of machine, and the deployments.

    python flows/setup.py --cpu 8 --gpu 1     # on the server that PREFECT_API_URL names

Run it again after a change of prefect.yaml or of the choices in conf/.
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

from parameters import PROJECT
from slots import KINDS, NoServer, create_limits

POOLS = {"cpu": "Machines that train on their processors.", "gpu": "Machines with a CUDA GPU."}

# A process pool lets whoever starts a run set its command, its variables and its folder. Here there is nothing to set:
# what runs is what stands in the worker's checkout.
TEMPLATE: dict[str, Any] = {
    "job_configuration": {"stream_output": True},
    "variables": {"type": "object", "properties": {}, "additionalProperties": False},
}


def set_up(limits: Mapping[str, int | None], alone: bool = False) -> None:
    """Make what the flows need on the server that PREFECT_API_URL names, or bring it up to date.

    Args:
        limits: as `create_limits` takes them.
        alone: whether nothing else can be at work on the server.
    """
    create_limits(limits, alone)
    create_pools()
    deploy(PROJECT)


def create_pools() -> None:
    """Make the work pools, or give them this version's template."""
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
    """Put the deployments of prefect.yaml on the server, as `prefect deploy --all` is meant to.

    That command of Prefect 3.8 ends with an error after the first, where its server runs on a recent FastAPI.
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
    """The schedules that a deployment has on the server, none where it is not there yet."""
    try:
        return client.read_deployment_by_name(name).schedules
    except ObjectNotFound:
        return []


def _schedules(
    declared: Sequence[Mapping[str, Any]], there: Sequence[DeploymentSchedule]
) -> list[DeploymentScheduleCreate]:
    """The schedules that are declared, on or off as on the server, and those that people have added there.

    Prefect itself replaces all of them with those that it is given.
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
    """Set up the server that is named in the environment."""
    parser = argparse.ArgumentParser(description="Make a Prefect server ready for the flows.")
    for kind in KINDS:
        parser.add_argument(f"--{kind}", type=int, help=f"stages at once on {kind} machines, over all runs")
    given = parser.parse_args()
    if "PREFECT_API_URL" not in os.environ:
        print("error: set PREFECT_API_URL to the server's, as http://127.0.0.1:4200/api", file=sys.stderr)
        return 2
    try:
        set_up({kind: getattr(given, kind) for kind in KINDS})
    except NoServer as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{os.environ['PREFECT_API_URL']}: limits, work pools and deployments are there")
    return 0


if __name__ == "__main__":
    sys.exit(main())
