"""Rows as the API shows them."""

from __future__ import annotations

from sandboxes import models, presentation
from sandboxes.api import schemas


def sandbox(row: models.Sandbox) -> schemas.Sandbox:
    """The whole of a sandbox, but for its secrets."""
    ending, offer = presentation.ending(row), presentation.extension(row)
    return schemas.Sandbox(
        id=row.public_id,
        name=row.name,
        blueprint=row.blueprint,
        state=models.State(row.state),
        steps=[schemas.Step.from_orm(step) for step in presentation.steps(row)],
        created_at=row.created_at,
        started_at=row.started_at,
        expires_at=row.expires_at,
        idle_expires_at=row.idle_expires_at,
        hard_cap_at=row.hard_cap_at,
        ends_at=ending.at,
        ends_because=ending.because,  # type: ignore[arg-type]
        summary=ending.sentence,
        ended_at=row.ended_at,
        end_reason=models.EndReason(row.end_reason) if row.end_reason else None,
        end_message=row.end_message or None,
        failure=schemas.Failure(**row.failure) if row.failure else None,
        extension=schemas.Extension(used=offer.used, max_minutes=offer.max_minutes),
        reset_pending=row.reset_requested_at is not None,
        endpoints=schemas.Endpoints(**presentation.endpoints(row)),
        stellar=schemas.Stellar(
            public_key=row.stellar_public_key, funding=models.Funding(row.funding)
        ),
        limits=size(row),
    )


def size(row: models.Sandbox) -> schemas.Size:
    return schemas.Size(memory_mb=row.memory_mb, cpus=row.cpus, disk_mb=row.disk_mb)


def extension(granted: models.Extension) -> schemas.ExtensionGranted:
    return schemas.ExtensionGranted(
        minutes=granted.minutes,
        created_at=granted.created_at,
        expires_before=granted.expires_before,
        expires_at=granted.expires_after,
        sandbox=sandbox(granted.sandbox),
    )


def samples(rows: list[models.UsageSample]) -> list[schemas.Sample]:
    """Samples, oldest first, with the load between each and the one before."""
    before = [None, *rows[:-1]] if rows else []
    return [_sample(row, last) for row, last in zip(rows, before, strict=True)]


def _sample(row: models.UsageSample, last: models.UsageSample | None) -> schemas.Sample:
    return schemas.Sample(
        at=row.at,
        memory_mb=row.memory_mb,
        cpus=_load(row, last),
        disk_mb=row.disk_mb,
        received_bytes=row.received_bytes,
        sent_bytes=row.sent_bytes,
    )


def _load(row: models.UsageSample, last: models.UsageSample | None) -> float | None:
    if last is None:
        return None
    seconds, used = (row.at - last.at).total_seconds(), row.cpu_seconds - last.cpu_seconds
    # A container that was started again counts from zero.
    return round(used / seconds, 3) if seconds > 0 and used >= 0 else None
