"""Convert rows to the schemas of the API."""

from __future__ import annotations

from sandboxes import models
from sandboxes.blueprints.parameters import Parameter, ParameterType
from sandboxes.core.launch_eta import EtaCalculator
from sandboxes.representations import display, schemas, usage_schemas
from sandboxes.usage import series


def sandbox(
    row: models.Sandbox, estimator: EtaCalculator | None = None, extended: bool | None = None
) -> schemas.Sandbox:
    """Return a sandbox without its secrets.

    `extended` says whether its owner has extended it, if the caller knows.
    """
    deadline, quote = display.deadline(row), display.extension_quote(row, extended)
    estimate = (estimator or EtaCalculator()).estimate(row)
    return schemas.Sandbox(
        id=row.public_id,
        name=row.name,
        blueprint=row.blueprint,
        state=models.State(row.state),
        steps=[schemas.Step.from_orm(step) for step in display.steps(row, estimate)],
        eta_seconds=None if estimate is None or estimate.overdue else round(estimate.remaining, 1),
        created_at=row.created_at,
        started_at=row.started_at,
        expires_at=row.expires_at,
        idle_expires_at=row.idle_expires_at,
        hard_cap_at=row.hard_cap_at,
        ends_at=row.ends_at,
        ends_because=row.ends_because,  # type: ignore[arg-type]
        summary=deadline.summary,
        problem=display.problem(row),
        unreachable_since=row.unreachable_since if row.is_replaceable else None,
        ended_at=row.ended_at,
        end_reason=models.EndReason(row.end_reason) if row.end_reason else None,
        end_message=row.end_message or None,
        failure=schemas.Failure(**row.failure) if row.failure else None,
        advice=display.advice(row),
        peak=usage_schemas.Peak(**row.peak) if row.peak else None,
        extension=schemas.Extension(used=quote.used, max_minutes=quote.max_minutes),
        heartbeat_seconds=row.heartbeat_seconds,
        heartbeat_expires_at=row.heartbeat_expires_at if row.is_active else None,
        reset_pending=row.reset_requested_at is not None,
        launched_from=row.launched_from_id,
        parameters=row.parameters,
        metadata=row.metadata,
        endpoints=schemas.Endpoints(**display.endpoints(row)),
        stellar=schemas.Stellar(
            public_key=row.stellar_public_key, funding=models.Funding(row.funding)
        )
        if row.stellar_public_key
        else None,
        limits=size(row),
    )


def save_point(row: models.SavePoint) -> schemas.SavePoint:
    return schemas.SavePoint(
        id=row.public_id,
        name=row.name,
        sandbox=row.sandbox.public_id if row.sandbox else None,
        blueprint=row.blueprint,
        parameters=row.parameters,
        state=models.SavePointState(row.state),
        error=row.error or None,
        size_mb=round(row.size_mb, 2),
        pause_seconds=row.pause_seconds,
        starting_point=row.is_starting_point,
        created_at=row.created_at,
        expires_at=row.ends_at,
    )


SUMMARY_COLUMNS = (
    "owner",
    "public_id",
    "name",
    "blueprint",
    "state",
    "created_at",
    "expires_at",
    "last_activity_at",
    "idle_minutes",
    "ended_at",
    "end_reason",
    "metadata",
)
"""The columns that a summary is made of, and the owner's, by which rows are selected."""


def summary(row: models.Sandbox) -> schemas.SandboxSummary:
    """Return the fields of a sandbox for lists; they depend on `SUMMARY_COLUMNS` only."""
    return schemas.SandboxSummary(
        id=row.public_id,
        name=row.name,
        blueprint=row.blueprint,
        state=models.State(row.state),
        created_at=row.created_at,
        expires_at=row.expires_at,
        ends_at=row.ends_at,
        ended_at=row.ended_at,
        end_reason=models.EndReason(row.end_reason) if row.end_reason else None,
        metadata=row.metadata,
    )


def event(row: models.Event) -> schemas.Event:
    return schemas.Event(
        id=row.pk,
        at=row.created_at,
        kind=row.kind,
        by=row.actor_role,  # type: ignore[arg-type]
        message=row.message,
        data=row.data,
    )


def parameter(definition: Parameter) -> schemas.Parameter:
    """Return a parameter of a blueprint, without the details of other types."""
    kind = definition.type
    is_integer, is_string = kind == ParameterType.INTEGER, kind == ParameterType.STRING
    return schemas.Parameter(
        type=kind,
        title=definition.title,
        help=definition.help,
        default=definition.default,
        values=list(definition.values) if kind == ParameterType.ENUM else None,
        minimum=definition.minimum if is_integer else None,
        maximum=definition.maximum if is_integer else None,
        pattern=definition.pattern or None,
        max_length=definition.max_length if is_string else None,
    )


def size(row: models.Sandbox) -> schemas.Size:
    """Return the resource limits of a sandbox."""
    return schemas.Size(memory_mb=row.memory_mb, cpus=row.cpus, disk_mb=row.disk_mb)


def extension(granted: models.Extension) -> schemas.ExtensionGranted:
    """Return a granted extension with its sandbox."""
    return schemas.ExtensionGranted(
        minutes=granted.minutes,
        created_at=granted.created_at,
        expires_before=granted.expires_before,
        expires_at=granted.expires_after,
        sandbox=sandbox(granted.sandbox),
    )


def samples(row: models.Sandbox, rows: list[models.UsageSample]) -> list[usage_schemas.Sample]:
    """Return samples, oldest first, with the rates since the previous sample."""
    return [
        usage_schemas.Sample.from_orm(point) for point in series.to_series(rows, row.started_at)
    ]
