"""Launch a sandbox: validate the request, reserve a slot, claim from the pool or queue."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.db import transaction
from django.utils.timesince import timeuntil

from sandboxes import blueprints, queue
from sandboxes.core import capacity, lifecycle, limits
from sandboxes.core.factory import new_sandbox
from sandboxes.lib import clock
from sandboxes.lib.exceptions import (
    IdempotencyKeyReused,
    QuotaExceeded,
    RateLimited,
    Unavailable,
    ValidationFailed,
)
from sandboxes.models import (
    IdempotencyKey,
    Pool,
    Sandbox,
    Site,
    State,
)
from sandboxes.models.runtime_settings import config
from sandboxes.pool import claim as pool_claim
from sandboxes.pool import tasks as pool_tasks
from sandboxes.worker import tasks as worker_tasks

if TYPE_CHECKING:
    from django.contrib.auth.models import User

MAX_NAME_LENGTH = 60


@dataclass(frozen=True)
class LaunchRequest:
    """What may be chosen about a new sandbox; None stands for the default."""

    blueprint: str | None = None
    ttl_minutes: int | None = None
    name: str = ""

    @property
    def fingerprint(self) -> str:
        parts = [self.blueprint, self.ttl_minutes, self.name]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def validate_launch(
    user: User, request: LaunchRequest
) -> tuple[blueprints.Blueprint, dict[str, Any]]:
    """Return the blueprint and the field values of the requested sandbox, except for its slot.

    Raises ValidationFailed, Unavailable.
    """
    blueprint = _validate_blueprint(request)
    mine = limits.get_limits(user)
    return blueprint, {
        "owner": user,
        "ttl_minutes": _validate_ttl(request, mine),
        "idle_minutes": mine.idle_minutes,
        "name": _validate_name(request),
    }


def _claim_or_create(user: User, request: LaunchRequest) -> Sandbox:
    """Claim a sandbox from the pool, or insert a row that is `pending`."""
    blueprint, values = validate_launch(user, request)
    values["slot"] = limits.reserve_slot(user)
    return pool_claim.claim(blueprint, values) or lifecycle.create_pending(
        new_sandbox(blueprint, **values), user
    )


def launchable_blueprints() -> dict[str, blueprints.Blueprint]:
    """The blueprints that run here, without those that operators have switched off."""
    off = set(Pool.objects.filter(switched_off=True).values_list("blueprint", flat=True))
    return {
        name: one
        for name, one in blueprints.available().items()
        if name not in off and one.supports_runtime(config.SANDBOX_RUNTIME)
    }


def _validate_blueprint(request: LaunchRequest) -> blueprints.Blueprint:
    known = blueprints.available()
    name = request.blueprint or config.SANDBOX_DEFAULT_BLUEPRINT
    if name not in known:
        raise ValidationFailed(
            "blueprint", f"There is no blueprint “{name}”; take {', '.join(known)}."
        )
    if not known[name].supports_runtime(config.SANDBOX_RUNTIME):
        why = "It does not say how it runs without an engine, so it can't be launched here."
        raise ValidationFailed("blueprint", why)
    if Pool.objects.filter(blueprint=name, switched_off=True).exists():
        raise Unavailable(f"An operator has switched off “{known[name].title}” for now.")
    return known[name]


def _validate_ttl(request: LaunchRequest, mine: limits.Limits) -> int:
    if request.ttl_minutes is None:
        return mine.ttl_minutes
    low, high = mine.ttl_min_minutes, mine.ttl_max_minutes
    if not low <= request.ttl_minutes <= high:
        raise ValidationFailed("ttl_minutes", f"Choose a lifetime from {low} to {high} minutes.")
    return request.ttl_minutes


def _validate_name(request: LaunchRequest) -> str:
    name = request.name.strip()
    if len(name) > MAX_NAME_LENGTH or not name.isprintable():
        raise ValidationFailed("name", f"Use at most {MAX_NAME_LENGTH} printable characters.")
    return name


IDEMPOTENCY_KEY_RETENTION = timedelta(hours=24)
MAX_IDEMPOTENCY_KEY_LENGTH = 255
SHORTAGE_RETRY_DELAY = timedelta(minutes=5)


def launch_sandbox(
    user: User, request: LaunchRequest, idempotency_key: str = ""
) -> tuple[Sandbox, bool]:
    """A new sandbox, or with a key that was used before the one it launched; whether it is new.

    Raises ValidationFailed, IdempotencyKeyReused, QuotaExceeded, RateLimited, Unavailable.
    """
    if len(idempotency_key) > MAX_IDEMPOTENCY_KEY_LENGTH:
        raise ValidationFailed(
            "Idempotency-Key", f"Use at most {MAX_IDEMPOTENCY_KEY_LENGTH} characters."
        )
    with transaction.atomic():
        site = Site.locked()
        if idempotency_key and (earlier := _replay(user, idempotency_key, request)):
            return earlier, False
        if blocker := _site_blocker(site) or limits.rate_limit_blocker(user):
            raise blocker
        sandbox = _claim_or_create(user, request)
        if idempotency_key:
            IdempotencyKey.objects.create(
                owner=user,
                key=idempotency_key,
                fingerprint=request.fingerprint,
                sandbox=sandbox,
                created_at=clock.now(),
            )
        if sandbox.state == State.RUNNING:
            queue.enqueue(worker_tasks.verify_claimed, sandbox.public_id)
            queue.enqueue(pool_tasks.reconcile_pools)
        else:
            queue.enqueue(worker_tasks.provision, sandbox.public_id)
            queue.enqueue(worker_tasks.fund, sandbox.public_id)
    return sandbox, True


def _replay(user: User, key: str, request: LaunchRequest) -> Sandbox | None:
    known = IdempotencyKey.objects.select_related("sandbox").filter(owner=user, key=key).first()
    if known is None:
        return None
    if known.created_at < clock.now() - IDEMPOTENCY_KEY_RETENTION:
        known.delete()
        return None
    if known.fingerprint != request.fingerprint:
        raise IdempotencyKeyReused(
            "This Idempotency-Key was used for another request; use a new key."
        )
    return known.sandbox


def _site_blocker(site: Site) -> Unavailable | None:
    return _maintenance_blocker(site) or _shortage_blocker(site)


def _maintenance_blocker(site: Site) -> Unavailable | None:
    if site.drained_until is None or site.drained_until <= clock.now():
        return None
    text = site.drain_message or "The portal is under maintenance."
    time = timeuntil(site.drained_until, clock.now())
    over = f"It should be over in {time}."
    return Unavailable(f"{text} {over}", site.drained_until)


def _shortage_blocker(site: Site) -> Unavailable | None:
    lacking = capacity.engine_shortage(site)
    return Unavailable(lacking, clock.now() + SHORTAGE_RETRY_DELAY) if lacking else None


def launch_blocker(user: User) -> Unavailable | QuotaExceeded | RateLimited | None:
    """Why the user could not launch a sandbox now; None when they could."""
    return (
        _site_blocker(Site.current())
        or limits.quota_blocker(user)
        or limits.rate_limit_blocker(user)
    )
