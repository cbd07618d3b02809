"""Setting up a server again keeps the schedules that people have changed there."""

from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.schedules import CronSchedule

from setup import create_pools, deploy

pytestmark = pytest.mark.xdist_group("prefect")


def test_a_schedule_that_was_activated_or_added_is_kept(server: Any, project: Path) -> None:
    create_pools()
    deploy(project)
    with get_client(sync_client=True) as client:
        deployment = client.read_deployment_by_name("pipeline/cpu")
        [nightly] = deployment.schedules
        assert (nightly.slug, nightly.active) == ("nightly", False)
        client.update_deployment_schedule(deployment.id, nightly.id, active=True)
        weekly = DeploymentScheduleCreate(schedule=CronSchedule(cron="0 5 * * 1"), active=True)
        client.create_deployment_schedules(deployment.id, [weekly])
        deploy(project)
        found = client.read_deployment_by_name("pipeline/cpu").schedules
        assert {(each.slug, each.schedule.cron, each.active) for each in found} == {
            ("nightly", "0 3 * * *", True),
            (None, "0 5 * * 1", True),
        }
        assert [each.active for each in client.read_deployment_by_name("pipeline/gpu").schedules] == [False]
