"""What people have set in a deployment on the server: it stays when the deployment is set up again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.objects import ConcurrencyLimitStrategy, DeploymentSchedule
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule
from prefect.utilities.schema_tools.validation import validate


@dataclass(frozen=True)
class Settings:
    """What can be set in the UI and in prefect.yaml.

    Attributes:
        parameters: default values of the form.
        schedules: when it runs.
        limit: how many of its flow runs run at once; None for any number.
        strategy: what happens to further ones.
        tags: labels of the deployment.
    """

    parameters: Mapping[str, Any]
    schedules: Sequence[DeploymentScheduleCreate]
    limit: int | None
    strategy: ConcurrencyLimitStrategy
    tags: Sequence[str]


def declared_settings(entry: Mapping[str, Any]) -> Settings:
    """The settings of a deployment in prefect.yaml."""
    limit = entry["concurrency_limit"]
    return Settings(
        entry.get("parameters") or {},
        [
            DeploymentScheduleCreate(
                schedule=CronSchedule(cron=each["cron"], timezone=each["timezone"]),
                active=each["active"],
                slug=each["slug"],
            )
            for each in entry["schedules"]
        ],
        limit["limit"],
        ConcurrencyLimitStrategy(limit["collision_strategy"]),
        entry["tags"],
    )


def merged(declared: Settings, there: DeploymentResponse, schema: Mapping[str, Any]) -> tuple[Settings, list[str]]:
    """The settings of a deployment that is set up again.

    Args:
        declared: its settings in prefect.yaml.
        there: the deployment as it is on the server.
        schema: of the parameters that its form takes now.

    Returns:
        The settings, and one line for each that is not what prefect.yaml declares.
    """
    said: list[str] = []
    parameters: Mapping[str, Any] = there.parameters
    if reason := _refusal(parameters, schema):
        said.append(f"default parameters are those of prefect.yaml again, as the form refuses those there: {reason}")
        parameters = declared.parameters
    elif parameters != declared.parameters:
        said.append("keeps the default parameters that were set on the server")
    limit = there.global_concurrency_limit.limit if there.global_concurrency_limit else None
    options = there.concurrency_options
    strategy = ConcurrencyLimitStrategy(options.collision_strategy) if options else declared.strategy
    if (limit, strategy) != (declared.limit, declared.strategy):
        said.append("keeps the concurrency limit that was set on the server")
    schedules = [_kept(each, schema, said) for each in there.schedules]
    by_slug = {each.slug: each for each in schedules if each.slug}
    for each in declared.schedules:
        kept = by_slug.get(each.slug or "")
        if kept is None:
            schedules.append(each)
        elif (kept.schedule, kept.parameters) != (each.schedule, each.parameters):
            said.append(f"keeps the schedule {each.slug!r} as it was set on the server")
    return Settings(parameters, schedules, limit, strategy, sorted({*declared.tags, *there.tags})), said


def _kept(there: DeploymentSchedule, schema: Mapping[str, Any], said: list[str]) -> DeploymentScheduleCreate:
    """A schedule as it is; inactive where the form no longer takes its parameters, with which no run could start."""
    parameters, active = there.parameters, there.active
    if reason := _refusal(parameters, schema):
        said.append(
            f"the schedule {there.slug or there.schedule} is inactive, as the form refuses its parameters: {reason}"
        )
        parameters, active = {}, False
    return DeploymentScheduleCreate(
        schedule=there.schedule,
        active=active,
        slug=there.slug,
        parameters=parameters,
        max_scheduled_runs=there.max_scheduled_runs,
    )


def _refusal(parameters: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    """Why the form refuses these parameters; empty where it takes them."""
    errors = validate(dict(parameters), dict(schema), ignore_required=True)
    return f"{errors[0].json_path.removeprefix('$.')}: {errors[0].message}" if errors else ""
