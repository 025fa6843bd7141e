"""What the caller may have, and what can be launched."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from ninja import Router

from sandboxes import actions, blueprints, runtime
from sandboxes.api.auth import READ, ApiRequest
from sandboxes.api.openapi import responses
from sandboxes.core import limits
from sandboxes.lib import clock
from sandboxes.lib.exceptions import QuotaExceeded, RateLimited, Unavailable
from sandboxes.representations import schemas

router = Router(tags=["Limits and blueprints"])


@router.get("/limits", auth=READ, response=responses(200, schemas.Limits))
def read_limits(request: ApiRequest) -> schemas.Limits:
    """Your limits, what you use of them, and when the next sandbox can be launched."""
    mine, refusal = limits.get_limits(request.auth), actions.launch_blocker(request.auth)
    return schemas.Limits(
        limit=mine.max_active,
        active=request.auth.sandboxes.active().count(),
        can_launch=refusal is None,
        reason=str(refusal) if refusal else None,
        **_wait_fields(refusal),
        ttl_minutes=schemas.Bounds(
            default=mine.ttl_minutes, min=mine.ttl_min_minutes, max=mine.ttl_max_minutes
        ),
        extension_max_minutes=mine.extension_max_minutes,
        hard_cap_minutes=mine.hard_cap_minutes,
        idle_minutes=mine.idle_minutes,
        sandbox=schemas.Size(
            memory_mb=settings.SANDBOX_MEMORY_MB,
            cpus=settings.SANDBOX_CPUS,
            disk_mb=settings.SANDBOX_DISK_MB,
        ),
        isolated=runtime.is_isolated(),
    )


def _wait_fields(refusal: QuotaExceeded | RateLimited | Unavailable | None) -> dict[str, Any]:
    """The members that say when to come back, named as in the answer 429 to a launch."""
    if refusal is None or refusal.retry_at is None:
        return {"estimated_wait_seconds": 0, "retry_at": None, "frees_first": None}
    seconds = (refusal.retry_at - clock.now()).total_seconds()
    return {
        "estimated_wait_seconds": max(1, round(seconds)),
        "retry_at": refusal.retry_at,
        "frees_first": refusal.frees_first if isinstance(refusal, QuotaExceeded) else None,
    }


@router.get("/blueprints", auth=READ, response=responses(200, schemas.BlueprintList))
def list_blueprints(request: ApiRequest) -> schemas.BlueprintList:  # noqa: ARG001
    """What sandboxes can be made of."""
    known, offered = blueprints.available().values(), actions.launchable_blueprints()
    return schemas.BlueprintList(
        data=[
            schemas.Blueprint(
                name=blueprint.name,
                title=blueprint.title,
                description=blueprint.description,
                seed=dict(blueprint.seed),
                default=blueprint.name == settings.SANDBOX_DEFAULT_BLUEPRINT,
                can_launch=blueprint.name in offered,
            )
            for blueprint in known
        ]
    )
