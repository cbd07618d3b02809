"""Setting up a server again keeps what people have changed there, and says so."""

from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate, DeploymentUpdate
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId
from prefect.client.schemas.schedules import CronSchedule
from prefect.client.schemas.sorting import FlowRunSort

from setup import create_pools, deploy

pytestmark = pytest.mark.xdist_group("prefect")
ROOT = Path(__file__).parents[2]


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


def test_what_people_have_set_on_the_server_stays_and_is_said(server: Any, project: Path) -> None:
    create_pools()
    deploy(project)
    assert deploy(project) == []
    berlin = CronSchedule(cron="30 2 * * *", timezone="Europe/Berlin")
    with get_client(sync_client=True) as client:
        deployment = client.read_deployment_by_name("pipeline/gpu")
        [nightly] = deployment.schedules
        client.update_deployment_schedule(deployment.id, nightly.id, active=True, schedule=berlin)
        parameters = {"choices": {"hardware": "gpu", "seed": 7}}
        changes = DeploymentUpdate(parameters=parameters, concurrency_limit=3, paused=True, tags=["mine", "gpu"])
        client.update_deployment(deployment.id, changes)
        said = deploy(project)
        found = client.read_deployment_by_name("pipeline/gpu")
        client.delete_deployment(found.id)  # other tests find what the file declares
        assert deploy(project) == []
    assert said == [
        "pipeline/gpu: keeps the default parameters that were set on the server",
        "pipeline/gpu: keeps the concurrency limit that was set on the server",
        "pipeline/gpu: keeps the schedule 'nightly' as it was set on the server",
    ]
    assert found.parameters == parameters
    assert (found.global_concurrency_limit.limit, found.paused) == (3, True)
    assert set(found.tags) == {"repflow", "gpu", "mine"}
    assert [(each.slug, each.schedule, each.active) for each in found.schedules] == [("nightly", berlin, True)]


def test_parameters_that_the_form_no_longer_takes_are_reset_and_their_schedule_is_inactive(
    server: Any, project: Path
) -> None:
    create_pools()
    deploy(project)
    with get_client(sync_client=True) as client:
        deployment = client.read_deployment_by_name("pipeline/gpu")
        gone = {"choices": {"encoder": "gone"}}
        weekly = DeploymentScheduleCreate(schedule=CronSchedule(cron="0 5 * * 1"), active=True, parameters=gone)
        client.update_deployment(deployment.id, DeploymentUpdate(parameters=gone, enforce_parameter_schema=False))
        client.create_deployment_schedules(deployment.id, [weekly])
        said = deploy(project)
        found = client.read_deployment_by_name("pipeline/gpu")
        client.delete_deployment(found.id)
        deploy(project)
    assert len(said) == 2
    assert "those of prefect.yaml again, as the form refuses those there: choices.encoder: 'gone' is not" in said[0]
    assert "is inactive, as the form refuses its parameters: choices.encoder" in said[1]
    assert found.parameters == {"choices": {"hardware": "gpu"}}
    assert {(each.slug, each.active) for each in found.schedules} == {("nightly", False), (None, False)}


def _delete_deployments(client: SyncPrefectClient) -> None:
    for each in client.read_deployments():
        client.delete_deployment(each.id)


def test_a_schedule_keeps_its_local_hour_across_daylight_saving(server: Any, tmp_path: Path) -> None:
    """Clocks in Berlin change on 28 March 2027."""
    declared = (ROOT / "prefect.yaml").read_text().replace("timezone: UTC", "timezone: Europe/Berlin")
    (tmp_path / "prefect.yaml").write_text(declared.replace("active: false", "active: true"))
    create_pools()
    with get_client(sync_client=True) as client:
        _delete_deployments(client)  # what other tests have set there would be kept
        deploy(tmp_path)
        deployment = client.read_deployment_by_name("pipeline/cpu")
        span = {"start_time": "2027-03-27T00:00:00Z", "end_time": "2027-03-30T00:00:00Z"}
        httpx.post(f"{server.url}/deployments/{deployment.id}/schedule", json=span, timeout=60).raise_for_status()
        chosen = DeploymentFilter(id=DeploymentFilterId(any_=[deployment.id]))
        runs = client.read_flow_runs(deployment_filter=chosen, sort=FlowRunSort.EXPECTED_START_TIME_ASC)
        _delete_deployments(client)
    planned = [run.expected_start_time.astimezone(ZoneInfo("Europe/Berlin")) for run in runs if run.expected_start_time]
    assert [f"{each:%d %H:%M %z}" for each in planned if each.year == 2027] == [
        "27 03:00 +0100",
        "28 03:00 +0200",
        "29 03:00 +0200",
    ]
