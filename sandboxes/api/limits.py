"""The limits of the user, and the blueprints."""

from __future__ import annotations

from typing import Any

from django.conf import settings

from sandboxes import actions, blueprints, runtime
from sandboxes.api.auth import READ, ApiRequest
from sandboxes.api.openapi import responses
from sandboxes.api.routing import StrictRouter
from sandboxes.core import limits
from sandboxes.lib import clock
from sandboxes.lib.exceptions import QuotaExceeded, RateLimited, Unavailable
from sandboxes.representations import schemas, serializers

router = StrictRouter(tags=["Limits and blueprints"])


@router.get("/limits", auth=READ, response=responses(200, schemas.Limits))
def read_limits(request: ApiRequest) -> schemas.Limits:
    """Return your limits, your usage, and when the next sandbox can be launched."""
    user_limits, blocker = limits.get_limits(request.auth), actions.launch_blocker(request.auth)
    return schemas.Limits(
        limit=user_limits.max_active,
        active=request.auth.sandboxes.active().count(),
        can_launch=blocker is None,
        reason=str(blocker) if blocker else None,
        **_wait_fields(blocker),
        ttl_minutes=_lifetimes(user_limits),
        extension_max_minutes=user_limits.extension_max_minutes,
        hard_cap_minutes=user_limits.hard_cap_minutes,
        idle_minutes=user_limits.idle_minutes,
        sandbox=schemas.Size(
            memory_mb=settings.SANDBOX_MEMORY_MB,
            cpus=settings.SANDBOX_CPUS,
            disk_mb=settings.SANDBOX_DISK_MB,
        ),
        isolated=runtime.is_isolated(),
    )


def _lifetimes(own: limits.Limits) -> schemas.Bounds:
    return schemas.Bounds(default=own.ttl_minutes, min=own.ttl_min_minutes, max=own.ttl_max_minutes)


def _limits_of(blueprint: blueprints.Blueprint, own: limits.Limits) -> schemas.BlueprintLimits:
    own = own.within(blueprint.limits)
    return schemas.BlueprintLimits(
        memory_mb=blueprint.memory_mb,
        cpus=blueprint.cpus,
        disk_mb=blueprint.disk_mb,
        ttl_minutes=_lifetimes(own),
        hard_cap_minutes=own.hard_cap_minutes,
        idle_minutes=own.idle_minutes,
        active_per_user=min(own.max_active, blueprint.limits.max_active or own.max_active),
    )


def _wait_fields(blocker: QuotaExceeded | RateLimited | Unavailable | None) -> dict[str, Any]:
    """Return the fields that say when to retry, named as in a 429 response to a launch."""
    if blocker is None or blocker.retry_at is None:
        return {"estimated_wait_seconds": 0, "retry_at": None, "frees_first": None}
    seconds = (blocker.retry_at - clock.now()).total_seconds()
    return {
        "estimated_wait_seconds": max(1, round(seconds)),
        "retry_at": blocker.retry_at,
        "frees_first": blocker.frees_first if isinstance(blocker, QuotaExceeded) else None,
    }


@router.get("/blueprints", auth=READ, response=responses(200, schemas.BlueprintList))
def list_blueprints(request: ApiRequest) -> schemas.BlueprintList:
    """List the blueprints that sandboxes are launched from, with your limits for each."""
    launchable, own = actions.launchable_blueprints(), limits.get_limits(request.auth)
    return schemas.BlueprintList(
        data=[
            schemas.Blueprint(
                name=blueprint.name,
                title=blueprint.title,
                description=blueprint.description,
                seed=dict(blueprint.seed),
                parameters={
                    name: serializers.parameter(item) for name, item in blueprint.parameters.items()
                },
                default=blueprint.name == settings.SANDBOX_DEFAULT_BLUEPRINT,
                can_launch=blueprint.name in launchable,
                access=blueprint.access,
                limits=_limits_of(blueprint, own),
            )
            for blueprint in blueprints.available().values()
        ]
    )
