"""Rules of the warm pool: what each pool lacks, and which sandboxes are stale.

A pooled sandbox runs, is seeded, verified and, if it has an account, funded. Its secrets are
unique and unused. Claiming one is a single database transaction. This module doesn't call the
engine; `sandboxes.pool.reconcile` retires and provisions sandboxes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from django.conf import settings
from django.utils.timesince import timesince

from sandboxes import blueprints
from sandboxes.core import capacity, placement
from sandboxes.core.fleet import Fleet
from sandboxes.lib import clock
from sandboxes.models import Funding, Maintenance, Pool, Sandbox, State
from sandboxes.models.abstract.claims import LONGEST_LEASE

if TYPE_CHECKING:
    from sandboxes.blueprints import Blueprint

SPEC_SETTINGS = (
    "SANDBOX_RUNTIME",
    "SANDBOX_BIND_ADDRESS",
    "SANDBOX_PUBLIC_HOST",
    "SANDBOX_CONTAINER_RUNTIME",
    "SANDBOX_ROOT_SERVICES",
)
"""Settings that change a sandbox although its blueprint and images stay the same."""


@dataclass(frozen=True)
class PoolPlan:
    """Changes that bring the pool of one blueprint to its target size."""

    pool: Pool
    retire: list[tuple[Sandbox, str]] = field(default_factory=list)
    """Sandboxes to retire, each with the reason."""
    missing: int = 0
    """Number of sandboxes to provision now."""


def preference(row: Sandbox) -> tuple[bool, bool, datetime, int]:
    """Return a sort key: ready before unfinished, funded before unfunded, then the oldest."""
    return row.state != State.POOLED, row.funding != Funding.FUNDED, row.created_at, row.pk


def plan_pools(fleet: Fleet) -> list[PoolPlan]:
    """Plan all pools within the capacity that launches by users leave."""
    free = (
        capacity.NO_CAPACITY if Maintenance.current().is_active else capacity.pool_capacity(fleet)
    )
    stock = sorted(Sandbox.objects.for_pool(), key=preference)
    plans = []
    for pool in pools():
        rows = [row for row in stock if row.blueprint == pool.blueprint]
        blueprint = blueprints.available().get(pool.blueprint)
        size = min(pool.target_size, _most(blueprint, free)) if blueprint else 0
        plans.append(_plan_pool(pool, rows, size, fleet))
        if blueprint:
            free = free.without([blueprint.memory_mb] * size)
    return plans


def _most(blueprint: Blueprint, free: capacity.FreeCapacity) -> int:
    """Return how many sandboxes of a blueprint the pool may hold."""
    engines = placement.candidates(blueprint, free)
    return free.among(engines).for_sandboxes(blueprint.memory_mb)


def _plan_pool(pool: Pool, rows: Iterable[Sandbox], target: int, fleet: Fleet) -> PoolPlan:
    now, usable = clock.now(), {engine.name for engine in fleet.open}
    draining = {engine.name for engine in fleet.engines if engine.draining_since}
    reasons = {
        row: "Its engine is being drained."
        if row.engine_id in draining
        else staleness_reason(row, pool, now)
        for row in rows
    }
    # Those of an engine that is away may come back with it.
    fresh = [row for row, reason in reasons.items() if not reason and row.engine_id in usable]
    retire = [(row, reason) for row, reason in reasons.items() if reason]
    retire += [(row, "The pool is smaller now.") for row in fresh[target:]]
    return PoolPlan(pool, retire, 0 if _is_backing_off(pool, now) else max(0, target - len(fresh)))


def _is_backing_off(pool: Pool, now: datetime) -> bool:
    """Return whether the pool must not provision now: paused, after a failure, or outdated."""
    must_wait = clock.is_ahead(pool.retry_at, now, LONGEST_LEASE)
    return pool.paused or must_wait or not is_current(pool)


def is_current(pool: Pool) -> bool:
    """Return whether the version of the pool matches the blueprint and settings of this process.

    After a change, the next sweep updates the version.
    """
    blueprint = blueprints.available().get(pool.blueprint)
    if blueprint is None or blueprint.excesses:
        return False
    return bool(pool.version.startswith(spec_fingerprint(blueprint)))


def staleness_reason(row: Sandbox, pool: Pool, now: datetime) -> str:
    """Return why a sandbox must not be claimed; empty if it may."""
    if row.spec_version != pool.version or not is_current(pool):
        return "Its blueprint, images or settings have changed."
    if now - row.created_at >= pool.max_age:
        return f"Too old for the pool: {timesince(row.created_at, now)}."
    return ""


def spec_fingerprint(blueprint: Blueprint) -> str:
    """Return a digest of the blueprint and settings that shape a sandbox, without its images."""
    shape = [blueprint.version, blueprint.disk_mb]
    return _digest([*shape, *(getattr(settings, name) for name in SPEC_SETTINGS)])


def spec_version(blueprint: Blueprint, images: dict[str, str]) -> str:
    """Return a digest of blueprint, settings and image ids; empty if an image is missing."""
    if any(image not in images for image in blueprint.image_references):
        return ""
    ids = [images[image] for image in blueprint.image_references]
    return f"{spec_fingerprint(blueprint)}-{_digest(ids)}"


def _digest(values: Sequence[object]) -> str:
    return hashlib.sha256(repr(values).encode()).hexdigest()[:12]


def pools() -> list[Pool]:
    """Return the pool of every blueprint, including removed ones that have one, by name."""
    known = {pool.blueprint: pool for pool in Pool.objects.all()}
    names = sorted({*known, *blueprints.available()})
    return [known.get(name) or Pool(blueprint=name) for name in names]
