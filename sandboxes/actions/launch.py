"""Launch a sandbox: validate the request, reserve a slot, claim from the pool or queue."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.db import transaction
from django.utils.timesince import timeuntil

from sandboxes import blueprints
from sandboxes.actions.launch_options import validate_metadata, validate_parameters
from sandboxes.core import capacity, disk_reserve, lifecycle, limits, placement, save_points
from sandboxes.core.factory import new_sandbox
from sandboxes.core.fleet import Fleet
from sandboxes.core.friendly_names import friendly_name
from sandboxes.core.portal_status import PortalStatus
from sandboxes.lib import clock, names, queue
from sandboxes.lib.exceptions import (
    IdempotencyKeyReused,
    QuotaExceeded,
    RateLimited,
    StateConflict,
    Unavailable,
    ValidationFailed,
)
from sandboxes.models import (
    EndReason,
    IdempotencyKey,
    LaunchLock,
    Maintenance,
    MetadataEntry,
    Pool,
    Sandbox,
    SavePoint,
    State,
)
from sandboxes.models.idempotency_key import IDEMPOTENCY_KEY_RETENTION
from sandboxes.models.runtime_settings import config
from sandboxes.pool import claim as pool_claim
from sandboxes.pool import tasks as pool_tasks
from sandboxes.worker import tasks as worker_tasks

if TYPE_CHECKING:
    from django.contrib.auth.models import User

MAX_IDEMPOTENCY_KEY_LENGTH = 255
MIN_HEARTBEAT_SECONDS, MAX_HEARTBEAT_SECONDS = 30, 3600
SHORTAGE_RETRY_DELAY = timedelta(minutes=5)
NOT_REPLACEABLE = "Only a running sandbox whose machine has been away for a while can be replaced."
SAVE_POINT_ENGINE_FULL = (
    "The machine that holds this save point takes no new sandboxes now. Try again in a few minutes."
)
NO_ENGINE = "No machine takes new sandboxes now. Try again in a few minutes."


@dataclass(frozen=True)
class LaunchRequest:
    """The options of a new sandbox; None stands for the default."""

    blueprint: str | None = None
    ttl_minutes: int | None = None
    name: str = ""
    """If empty, the sandbox gets a generated name."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """Those that aren't the blueprint's defaults; not validated yet, as the metadata."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    heartbeat_seconds: int | None = None
    """If set, the sandbox ends when its client has sent no heartbeat for this time."""
    replaces: str = ""
    """Id of the unreachable sandbox that it replaces; rate limits don't apply then."""
    save_point: str = ""
    """Public id of the save point to launch from, which decides on blueprint and parameters."""

    @property
    def blueprint_name(self) -> str:
        return self.blueprint or config.SANDBOX_DEFAULT_BLUEPRINT

    @property
    def fingerprint(self) -> str:
        """A hash of the options, which tells whether two requests are the same."""
        parts: list[Any] = [self.blueprint, self.ttl_minutes, self.name]
        if self.parameters or self.metadata:
            parts += [self.parameters, self.metadata]
        if self.save_point:
            parts += [{"save_point": self.save_point}]
        if self.heartbeat_seconds is not None:
            parts += [{"heartbeat_seconds": self.heartbeat_seconds}]
        if self.replaces:
            parts += [{"replaces": self.replaces}]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _claim_or_create(
    user: User,
    request: LaunchRequest,
    own: limits.Limits,
    active: list[Sandbox],
    status: PortalStatus,
) -> Sandbox:
    """Claim a sandbox from the pool, or insert a row that is `pending`.

    Raises ValidationFailed, Unavailable, QuotaExceeded.
    """
    save_point = _find_save_point(user, request)
    blueprint = _blueprint_of(save_point) if save_point else _validate_blueprint(request)
    own = own.within(blueprint.limits)
    pool = Pool.objects.filter(blueprint=blueprint.name).first()
    if pool and pool.switched_off:
        raise Unavailable(f"“{blueprint.title}” is temporarily disabled.")
    values: dict[str, Any] = {
        "owner": user,
        "ttl_minutes": _validate_ttl(request, own),
        "idle_minutes": own.idle_minutes,
        "parameters": save_point.parameters
        if save_point
        else validate_parameters(blueprint, request.parameters),
        "metadata": validate_metadata(request.metadata),
        **_validate_heartbeat(request),
        "name": validate_name(request.name) or friendly_name({row.name for row in active}),
    }
    free = capacity.free_capacity(status.fleet)
    if blocker := limits.quota_blocker(user, own, active, free=free, among=[blueprint]):
        raise blocker
    values["slot"] = limits.free_slot(active)
    engines = placement.candidates(blueprint, free)
    if save_point:
        values["launched_from"] = save_point
        engines = [engine for engine in engines if engine.name == save_point.engine_id]
    if not engines:
        reason = SAVE_POINT_ENGINE_FULL if save_point else NO_ENGINE
        raise Unavailable(reason, clock.now() + SHORTAGE_RETRY_DELAY)
    can_claim = status.pool_is_checked and not save_point
    can_claim = can_claim and values["parameters"] == blueprint.default_parameters
    claimed = pool_claim.claim(pool, engines, values) if pool and can_claim else None
    sandbox = claimed or lifecycle.create_pending(
        new_sandbox(blueprint, engine=engines[0], **values), user
    )
    placement.record_use(status.fleet, sandbox)
    if sandbox.metadata:
        MetadataEntry.index(sandbox)
    return sandbox


def launchable_blueprints() -> dict[str, blueprints.Blueprint]:
    """Return the blueprints that this runtime supports and no operator has disabled, by name."""
    disabled = set(Pool.objects.filter(switched_off=True).values_list("blueprint", flat=True))
    return {
        name: blueprint
        for name, blueprint in blueprints.available().items()
        if name not in disabled
        and blueprint.supports_runtime(config.SANDBOX_RUNTIME)
        and not blueprint.excesses
    }


def _validate_blueprint(request: LaunchRequest) -> blueprints.Blueprint:
    available = blueprints.available()
    name = request.blueprint_name
    if name not in available:
        message = f"Unknown blueprint “{name}”. Available: {', '.join(available)}."
        raise ValidationFailed("blueprint", message)
    return _require_usable(available[name])


def _find_save_point(user: User, request: LaunchRequest) -> SavePoint | None:
    """Return the save point to launch from, locked, or None. Raises ValidationFailed."""
    if not request.save_point:
        return None
    found = (
        SavePoint.objects.launchable_by(user)
        .select_for_update()
        .filter(public_id=request.save_point)
        .first()
    )
    if found is None:
        message = "You have no save point with this id that is ready."
        raise ValidationFailed("save_point", message)
    if request.blueprint not in (None, found.blueprint):
        message = f"The save point is one of “{found.blueprint}”. Leave out the blueprint."
        raise ValidationFailed("blueprint", message)
    if request.parameters:
        message = "A save point has its own parameters. Leave them out."
        raise ValidationFailed("parameters", message)
    return found


def _blueprint_of(save_point: SavePoint) -> blueprints.Blueprint:
    """Return the blueprint with which the sandbox was saved. Raises ValidationFailed."""
    try:
        return _require_usable(save_points.require_launchable(save_point))
    except StateConflict as error:
        raise ValidationFailed("save_point", str(error)) from error


def _require_usable(blueprint: blueprints.Blueprint) -> blueprints.Blueprint:
    """Return the blueprint. Raises ValidationFailed, Unavailable if this portal can't run it."""
    if not blueprint.supports_runtime(config.SANDBOX_RUNTIME):
        message = "This blueprint needs a container engine, which this portal doesn't have."
        raise ValidationFailed("blueprint", message)
    if blueprint.excesses:
        message = f"“{blueprint.title}” needs more than a sandbox may have on this portal now."
        raise Unavailable(message)
    return blueprint


def _validate_ttl(request: LaunchRequest, user_limits: limits.Limits) -> int:
    if request.ttl_minutes is None:
        return user_limits.ttl_minutes
    shortest, longest = user_limits.ttl_min_minutes, user_limits.ttl_max_minutes
    if not shortest <= request.ttl_minutes <= longest:
        message = f"Choose a lifetime from {shortest} to {longest} minutes."
        raise ValidationFailed("ttl_minutes", message)
    return request.ttl_minutes


def _validate_heartbeat(request: LaunchRequest) -> dict[str, Any]:
    seconds = request.heartbeat_seconds
    if seconds is None:
        return {}
    if not MIN_HEARTBEAT_SECONDS <= seconds <= MAX_HEARTBEAT_SECONDS:
        message = f"Choose from {MIN_HEARTBEAT_SECONDS} to {MAX_HEARTBEAT_SECONDS} seconds."
        raise ValidationFailed("heartbeat_seconds", message)
    return {
        "heartbeat_seconds": seconds,
        "heartbeat_expires_at": clock.now() + timedelta(seconds=seconds),
    }


def validate_name(name: str) -> str:
    """Return the name without spaces around it. Raises ValidationFailed."""
    try:
        return names.clean_name(name)
    except names.InvalidName as error:
        raise ValidationFailed("name", str(error)) from error


def launch_sandbox(
    user: User,
    request: LaunchRequest,
    idempotency_key: str = "",
    *,
    own: limits.Limits | None = None,
) -> tuple[Sandbox, bool]:
    """Launch a sandbox, and return it and True.

    If the idempotency key was used before, return the sandbox of that launch and False. A caller
    that has read the user's limits passes them as `own`.

    Raises ValidationFailed, IdempotencyKeyReused, QuotaExceeded, RateLimited, Unavailable, and
    StateConflict if the sandbox to replace is reachable.
    """
    if len(idempotency_key) > MAX_IDEMPOTENCY_KEY_LENGTH or not idempotency_key.isprintable():
        raise ValidationFailed(
            "Idempotency-Key", f"Use at most {MAX_IDEMPOTENCY_KEY_LENGTH} printable characters."
        )
    with transaction.atomic():
        LaunchLock.acquire()
        if idempotency_key and (earlier := _replay(user, idempotency_key, request)):
            return earlier, False
        if request.replaces:
            _give_up(user, request.replaces)
        # Read under the lock: a launch that waited for it must not miss maintenance mode.
        status, rows = PortalStatus.read(), limits.active_and_recent(user)
        # That of a save point is known later, and so is the engine that has to hold it.
        name = None if request.save_point else request.blueprint_name
        blueprint = blueprints.available().get(name) if name else None
        blocker: Unavailable | RateLimited | None = _portal_blocker(status, blueprint)
        if not request.replaces:
            blocker = blocker or limits.rate_limit_blocker(user, rows)
        if blocker:
            raise blocker
        active = [row for row in rows if row.is_active]
        sandbox = _claim_or_create(user, request, own or limits.get_limits(user), active, status)
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
            if sandbox.funding:
                queue.enqueue(worker_tasks.fund, sandbox.public_id)
    return sandbox, True


def _give_up(user: User, public_id: str) -> None:
    """End an unreachable sandbox at once. Its objects are removed when its engine is back."""
    row = Sandbox.objects.select_for_update().get(public_id=public_id, owner=user)
    if not row.is_replaceable:
        raise StateConflict(NOT_REPLACEABLE)
    lifecycle.begin_destroy(
        row, EndReason.LOST, "Replaced because its machine was away.", actor=user
    )
    lifecycle.mark_destroyed(row)


def _replay(user: User, key: str, request: LaunchRequest) -> Sandbox | None:
    """Return the sandbox that an earlier request with this key launched, if any."""
    used = IdempotencyKey.objects.select_related("sandbox").filter(owner=user, key=key).first()
    if used is None:
        return None
    if used.created_at < clock.now() - IDEMPOTENCY_KEY_RETENTION:
        used.delete()
        return None
    if used.fingerprint != request.fingerprint:
        raise IdempotencyKeyReused(
            "This Idempotency-Key was already used with a different request."
        )
    return used.sandbox


def _portal_blocker(
    status: PortalStatus, blueprint: blueprints.Blueprint | None
) -> Unavailable | None:
    disk_mb = blueprint.disk_mb if blueprint else config.SANDBOX_DISK_MB
    return (
        _maintenance_blocker(status.maintenance)
        or _engine_blocker(status.fleet, disk_mb, blueprint)
        or _disk_blocker()
    )


def _maintenance_blocker(maintenance: Maintenance) -> Unavailable | None:
    if maintenance.until is None or not maintenance.is_active:
        return None
    text = maintenance.message or "The portal is in maintenance."
    remaining = timeuntil(maintenance.until, clock.now())
    return Unavailable(f"{text} It should end in {remaining}.", maintenance.until)


def _engine_blocker(
    fleet: Fleet, disk_mb: int, blueprint: blueprints.Blueprint | None
) -> Unavailable | None:
    engines = placement.eligible(fleet, blueprint) if blueprint else fleet.open
    reason = capacity.shortage(fleet, disk_mb) if engines else NO_ENGINE
    return Unavailable(reason, clock.now() + SHORTAGE_RETRY_DELAY) if reason else None


def _disk_blocker() -> Unavailable | None:
    if not disk_reserve.is_full():
        return None
    reason = "The portal's disk is full, so nothing can be launched. Contact your administrator."
    return Unavailable(reason, clock.now() + SHORTAGE_RETRY_DELAY)


def launch_blocker(user: User) -> Unavailable | QuotaExceeded | RateLimited | None:
    """Return the error that a launch with default options would raise now, or None."""
    status = PortalStatus.read()
    blueprint = blueprints.available().get(LaunchRequest().blueprint_name)
    among = [blueprint] if blueprint else []
    return (
        _portal_blocker(status, blueprint)
        or limits.quota_blocker(user, fleet=status.fleet, among=among)
        or limits.rate_limit_blocker(user)
    )
