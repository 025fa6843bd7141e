"""Limits of users: quota, rate limit, and when the next slot will be free."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from math import ceil
from typing import TYPE_CHECKING

from django.db.models import Q

from sandboxes.blueprints import Blueprint
from sandboxes.blueprints.limits import Limits as BlueprintLimits
from sandboxes.core import capacity, placement
from sandboxes.core.fleet import Fleet
from sandboxes.core.leases import is_leased
from sandboxes.lib import clock
from sandboxes.lib.exceptions import QuotaExceeded, RateLimited
from sandboxes.models import (
    COUNTED_STATES,
    LimitOverride,
    Sandbox,
    State,
)
from sandboxes.models.runtime_settings import config

if TYPE_CHECKING:
    from django.contrib.auth.models import User

REMOVAL_DURATION = timedelta(seconds=5)
HOUR = ZERO_LIMIT_RETRY_AFTER = timedelta(hours=1)


@dataclass(frozen=True)
class Limits:
    """Limits of one user. Times are in minutes."""

    max_active: int
    ttl_minutes: int
    ttl_min_minutes: int
    ttl_max_minutes: int
    idle_minutes: int
    extension_max_minutes: int
    hard_cap_minutes: int

    def within(self, blueprint: BlueprintLimits) -> Limits:
        """Return the limits for a blueprint, which can only lower those of the user."""
        longest = _lower(self.ttl_max_minutes, blueprint.ttl_max_minutes)
        shortest = min(self.ttl_min_minutes, longest)
        wanted = blueprint.ttl_minutes or self.ttl_minutes
        return replace(
            self,
            ttl_minutes=min(max(wanted, shortest), longest),
            ttl_min_minutes=shortest,
            ttl_max_minutes=longest,
            idle_minutes=_lower(self.idle_minutes, blueprint.idle_minutes),
            hard_cap_minutes=_lower(self.hard_cap_minutes, blueprint.ttl_max_minutes),
        )


def _lower(value: int, other: int | None) -> int:
    return value if other is None else min(value, other)


def get_limits(user: User) -> Limits:
    """Return the portal's limits with the overrides for this user or their groups."""
    applies = Q(user=user) | Q(group__user=user)
    overrides = list(LimitOverride.objects.in_force(clock.now()).filter(applies))

    def choose(name: str, default: int) -> int:
        chosen = {row: value for row in overrides if (value := getattr(row, name)) is not None}
        own = [value for row, value in chosen.items() if row.user_id]
        return own[0] if own else max(chosen.values(), default=default)

    ttl_max = choose("ttl_max_minutes", config.SANDBOX_TTL_MAX_MINUTES)
    ttl_max = min(ttl_max, config.SANDBOX_HARD_CAP_MINUTES)
    return Limits(
        max_active=choose("max_active", config.SANDBOX_MAX_PER_USER),
        ttl_minutes=min(config.SANDBOX_TTL_MINUTES, ttl_max),
        ttl_min_minutes=min(config.SANDBOX_TTL_MIN_MINUTES, ttl_max),
        ttl_max_minutes=ttl_max,
        idle_minutes=choose("idle_minutes", config.SANDBOX_IDLE_MINUTES),
        extension_max_minutes=config.SANDBOX_EXTENSION_MAX_MINUTES,
        hard_cap_minutes=config.SANDBOX_HARD_CAP_MINUTES,
    )


def expected_end(sandbox: Sandbox, now: datetime) -> datetime:
    """Return when the slot of the sandbox will be free if its deadlines don't move."""
    if sandbox.state == State.DESTROYING:
        until = sandbox.leased_until if is_leased(sandbox, now) else None
        return max(now + REMOVAL_DURATION, until or now)
    return sandbox.ends_at or now + timedelta(minutes=sandbox.ttl_minutes)


def next_slot_freed_by(sandboxes: Iterable[Sandbox], limit: int, now: datetime) -> Sandbox | None:
    """Return the sandbox whose end will free a slot.

    That is the earliest to end, or a later one if the limit is now below the current count.
    """
    ends = sorted(sandboxes, key=lambda sandbox: expected_end(sandbox, now))
    return ends[len(ends) - limit] if 0 < limit <= len(ends) else None


def _quota_exceeded(
    scope: str,
    limit: int,
    sandboxes: list[Sandbox],
    user: User,
    first: Sandbox | None,
    title: str = "",
) -> QuotaExceeded:
    """Return the error; `first` is the sandbox whose end allows the launch."""
    now = clock.now()
    retry_at = expected_end(first, now) if first else now + ZERO_LIMIT_RETRY_AFTER
    wait_seconds = max(1, ceil((retry_at - now).total_seconds()))
    return QuotaExceeded(
        scope=scope,
        limit=limit,
        active=len(sandboxes),
        retry_at=now + timedelta(seconds=wait_seconds),
        wait_seconds=wait_seconds,
        # Don't reveal sandboxes of other users.
        frees_first=first.public_id if first and first.owner_id == user.pk else None,
        title=title,
    )


def quota_blocker(
    user: User,
    own: Limits | None = None,
    mine: list[Sandbox] | None = None,
    fleet: Fleet | None = None,
    *,
    free: capacity.FreeCapacity | None = None,
    among: Collection[Blueprint] = (),
) -> QuotaExceeded | None:
    """Return the quota that keeps the user from launching any of these blueprints now, or None.

    Of several quotas, it is the one that ends first. Without blueprints, a sandbox with the default
    limits is meant. Callers that have read the user's limits and active sandboxes, the engines, or
    their free capacity, pass them on.
    """
    now, limit = clock.now(), (own or get_limits(user)).max_active
    mine = list(user.sandboxes.active()) if mine is None else mine
    if len(mine) >= limit:
        first = next_slot_freed_by(mine, limit, now)
        return _quota_exceeded("user", limit, mine, user, first)
    free = free or capacity.free_capacity(fleet or Fleet.read())
    blockers = [
        _blueprint_blocker(user, blueprint, mine) or _site_blocker(user, blueprint, free)
        for blueprint in among or (None,)
    ]
    found = [blocker for blocker in blockers if blocker]
    return min(found, key=lambda one: one.wait_seconds) if len(found) == len(blockers) else None


def _blueprint_blocker(
    user: User, blueprint: Blueprint | None, mine: list[Sandbox]
) -> QuotaExceeded | None:
    limit = blueprint.limits.max_active if blueprint else None
    if blueprint is None or limit is None:
        return None
    same = [row for row in mine if row.blueprint == blueprint.name]
    if len(same) < limit:
        return None
    first = next_slot_freed_by(same, limit, clock.now())
    return _quota_exceeded("blueprint", limit, same, user, first, blueprint.title)


def _site_blocker(
    user: User, blueprint: Blueprint | None, free: capacity.FreeCapacity
) -> QuotaExceeded | None:
    memory_mb = blueprint.memory_mb if blueprint else config.SANDBOX_MEMORY_MB
    own = free.among(placement.eligible(free.fleet, blueprint)) if blueprint else free
    if own.for_sandboxes(memory_mb):
        return None
    requested = list(Sandbox.objects.live().requested())
    first = _first_to_free_enough(requested, own, memory_mb)
    # Smaller sandboxes may still be launched.
    title = blueprint.title if blueprint and free.for_sandboxes(config.SANDBOX_MEMORY_MB) else ""
    limit = free.taken + min(0, free.sandboxes)
    return _quota_exceeded("site", limit, requested, user, first, title)


def _first_to_free_enough(
    sandboxes: Iterable[Sandbox], free: capacity.FreeCapacity, memory_mb: int
) -> Sandbox | None:
    """Return the sandbox after whose end one of this size fits, if its deadlines don't move."""
    now = clock.now()
    for row in sorted(sandboxes, key=lambda sandbox: expected_end(sandbox, now)):
        free = free.after(row)
        if free.for_sandboxes(memory_mb):
            return row
    return None


def active_and_recent(user: User) -> list[Sandbox]:
    """Return the user's active sandboxes and those that count for the rate limit."""
    relevant = Q(state__in=COUNTED_STATES)
    if config.SANDBOX_LAUNCHES_PER_HOUR:
        relevant |= Q(created_at__gt=clock.now() - HOUR)
    return list(user.sandboxes.filter(relevant).newest_first())


def rate_limit_blocker(user: User, recent: list[Sandbox] | None = None) -> RateLimited | None:
    """Return the rate limit that keeps the user from launching now, or None.

    `recent` is the result of `active_and_recent`, if the caller has it.
    """
    most, now = config.SANDBOX_LAUNCHES_PER_HOUR, clock.now()
    if not most:
        return None
    rows = active_and_recent(user) if recent is None else recent
    times = [row.created_at for row in rows if not clock.is_older(row.created_at, now, HOUR)]
    if len(times) < most:
        return None
    # Newest first: the next launch is allowed when this one is an hour old.
    retry_at = times[most - 1] + HOUR
    return RateLimited("launches", most, int(HOUR.total_seconds()), retry_at)


def free_slot(active: list[Sandbox]) -> int:
    """Return the first slot that none of the user's active sandboxes takes.

    The caller holds the launch lock, so that counting and launching are one step.
    """
    taken = {sandbox.slot for sandbox in active}
    return next(slot for slot in range(1, len(taken) + 2) if slot not in taken)


def extension_preview(sandbox: Sandbox, minutes: int) -> timedelta:
    """Return how much an extension would add, limited by the hard cap."""
    assert sandbox.expires_at and sandbox.hard_cap_at
    after = min(sandbox.expires_at + timedelta(minutes=minutes), sandbox.hard_cap_at)
    return max(after, sandbox.expires_at) - sandbox.expires_at
