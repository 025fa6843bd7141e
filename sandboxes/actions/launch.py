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
from sandboxes.models.runtime_settings import settings
from sandboxes.pool import claim as pool_claim
from sandboxes.pool import tasks as pool_tasks
from sandboxes.worker import tasks as worker_tasks

if TYPE_CHECKING:
    from django.contrib.auth.models import User

LONGEST_NAME = 60


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


def admit(user: User, request: LaunchRequest) -> Sandbox:
    """The sandbox that the request is granted: one of the pool, or a new row that is `pending`.

    Call it inside the launching transaction. Raises ValidationFailed, QuotaExceeded, Unavailable.
    """
    blueprint = _blueprint(request)
    mine = limits.limits_of(user)
    chosen: dict[str, Any] = {
        "owner": user,
        "ttl_minutes": _ttl(request, mine),
        "idle_minutes": mine.idle_minutes,
        "name": _name(request),
        "slot": limits.take_place(user),
    }
    return pool_claim.claim(blueprint, chosen) or lifecycle.admit(
        new_sandbox(blueprint, **chosen), user
    )


def offered() -> dict[str, blueprints.Blueprint]:
    """The blueprints that run here, without those that operators have switched off."""
    off = set(Pool.objects.filter(switched_off=True).values_list("blueprint", flat=True))
    return {
        name: one
        for name, one in blueprints.available().items()
        if name not in off and one.supports_runtime(settings.SANDBOX_RUNTIME)
    }


def _blueprint(request: LaunchRequest) -> blueprints.Blueprint:
    known = blueprints.available()
    name = request.blueprint or settings.SANDBOX_DEFAULT_BLUEPRINT
    if name not in known:
        raise ValidationFailed(
            "blueprint", f"There is no blueprint “{name}”; take {', '.join(known)}."
        )
    if not known[name].supports_runtime(settings.SANDBOX_RUNTIME):
        why = "It does not say how it runs without an engine, so it can't be launched here."
        raise ValidationFailed("blueprint", why)
    if Pool.objects.filter(blueprint=name, switched_off=True).exists():
        raise Unavailable(f"An operator has switched off “{known[name].title}” for now.")
    return known[name]


def _ttl(request: LaunchRequest, mine: limits.Limits) -> int:
    if request.ttl_minutes is None:
        return mine.ttl_minutes
    low, high = mine.ttl_min_minutes, mine.ttl_max_minutes
    if not low <= request.ttl_minutes <= high:
        raise ValidationFailed("ttl_minutes", f"Choose a lifetime from {low} to {high} minutes.")
    return request.ttl_minutes


def _name(request: LaunchRequest) -> str:
    name = request.name.strip()
    if len(name) > LONGEST_NAME or not name.isprintable():
        raise ValidationFailed("name", f"Use at most {LONGEST_NAME} printable characters.")
    return name


KEY_KEPT = timedelta(hours=24)
LONGEST_KEY = 255
SHORTAGE_RETRY = timedelta(minutes=5)


def launch_sandbox(
    user: User, request: LaunchRequest, idempotency_key: str = ""
) -> tuple[Sandbox, bool]:
    """A new sandbox, or with a key that was used before the one it launched; whether it is new.

    Raises ValidationFailed, IdempotencyKeyReused, QuotaExceeded, RateLimited, Unavailable.
    """
    if len(idempotency_key) > LONGEST_KEY:
        raise ValidationFailed("Idempotency-Key", f"Use at most {LONGEST_KEY} characters.")
    with transaction.atomic():
        site = Site.locked()
        if idempotency_key and (earlier := _answered(user, idempotency_key, request)):
            return earlier, False
        if closed := _maintenance(site) or _shortage(site) or limits.pause_for(user):
            raise closed
        sandbox = admit(user, request)
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
            queue.enqueue(pool_tasks.tend_pool)
        else:
            queue.enqueue(worker_tasks.provision, sandbox.public_id)
            queue.enqueue(worker_tasks.fund, sandbox.public_id)
    return sandbox, True


def _answered(user: User, key: str, request: LaunchRequest) -> Sandbox | None:
    known = IdempotencyKey.objects.select_related("sandbox").filter(owner=user, key=key).first()
    if known is None:
        return None
    if known.created_at < clock.now() - KEY_KEPT:
        known.delete()
        return None
    if known.fingerprint != request.fingerprint:
        raise IdempotencyKeyReused(
            "This Idempotency-Key was used for another request; use a new key."
        )
    return known.sandbox


def _maintenance(site: Site) -> Unavailable | None:
    if site.drained_until is None or site.drained_until <= clock.now():
        return None
    text = site.drain_message or "The portal is under maintenance."
    time = timeuntil(site.drained_until, clock.now())
    over = f"It should be over in {time}."
    return Unavailable(f"{text} {over}", site.drained_until)


def _shortage(site: Site) -> Unavailable | None:
    lacking = capacity.shortage(site)
    return Unavailable(lacking, clock.now() + SHORTAGE_RETRY) if lacking else None


def refusal_to_launch(user: User) -> Unavailable | QuotaExceeded | RateLimited | None:
    """Why the user could not launch a sandbox now; None when they could."""
    site = Site.current()
    closed = _maintenance(site) or _shortage(site)
    return closed or limits.refusal_for(user) or limits.pause_for(user)
