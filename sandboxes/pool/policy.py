"""The warm pool as the database knows it: claiming, and what the pool lacks. No engine is asked.

A sandbox in the pool runs, is seeded, checked and, where friendbot answers, funded; its secrets are
its own from birth, and nobody has seen them. A claim is one transaction of the database.
`sandboxes.pool.reconcile` retires and makes what is in the pool.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from django.conf import settings
from django.utils.timesince import timesince

from sandboxes import blueprints
from sandboxes.core import capacity
from sandboxes.lib import clock
from sandboxes.models import Funding, Pool, Sandbox, Site, State

if TYPE_CHECKING:
    from sandboxes.blueprints import Blueprint

SPEC_SETTINGS = (
    "SANDBOX_RUNTIME",
    "SANDBOX_DISK_MB",
    "SANDBOX_BIND_ADDRESS",
    "SANDBOX_PUBLIC_HOST",
    "SANDBOX_CONTAINER_RUNTIME",
)
"""Settings by which two sandboxes of the same blueprint and images differ all the same."""


@dataclass(frozen=True)
class PoolPlan:
    """What is to be done about the pool of one blueprint."""

    pool: Pool
    retire: list[tuple[Sandbox, str]] = field(default_factory=list)
    """Each with the reason why it is not to be handed out."""
    missing: int = 0


def preference(row: Sandbox) -> tuple[bool, bool, datetime, int]:
    """Which is best handed out, and kept: made and funded, then the one made first."""
    return row.state != State.POOLED, row.funding != Funding.FUNDED, row.created_at, row.pk


def plan_pools() -> list[PoolPlan]:
    """What each pool should do now so that it holds what is wanted, as far as people leave room."""
    now, room = clock.now(), _headroom()
    stock = sorted(Sandbox.objects.for_pool(), key=preference)
    found = []
    for pool in pools():
        need = _plan_pool(
            pool, [row for row in stock if row.blueprint == pool.blueprint], room, now
        )
        found.append(need)
        room -= min(pool.target_size, room)
    return found


def _headroom() -> int:
    site = Site.current()
    is_drained = site.drained_until is not None and site.drained_until > clock.now()
    return 0 if is_drained else capacity.pool_headroom(site)


def _plan_pool(pool: Pool, stock: Iterable[Sandbox], room: int, now: datetime) -> PoolPlan:
    faults = {row: staleness_reason(row, pool, now) for row in stock}
    fit = [row for row, fault in faults.items() if not fault]
    target = min(pool.target_size, room)
    retire = [(row, fault) for row, fault in faults.items() if fault]
    retire += [(row, "The pool holds fewer now.") for row in fit[target:]]
    return PoolPlan(pool, retire, 0 if _is_backing_off(pool, now) else max(0, target - len(fit)))


def _is_backing_off(pool: Pool, now: datetime) -> bool:
    """Whether nothing is to be made now, whatever is missing."""
    waits = pool.retry_at is not None and pool.retry_at > now
    return pool.paused or waits or not _is_current(pool)


def _is_current(pool: Pool) -> bool:
    """Whether its version is of the blueprint and settings as this process knows them.

    After a change that is so when the next sweep has looked at the images.
    """
    blueprint = blueprints.available().get(pool.blueprint)
    return blueprint is not None and pool.version.startswith(spec_fingerprint(blueprint))


def staleness_reason(row: Sandbox, pool: Pool, now: datetime) -> str:
    """Why it is not to be handed out; empty when it may be."""
    if row.made_of != pool.version or not _is_current(pool):
        return "Its blueprint, its images or the settings have changed."
    if now - row.created_at >= pool.max_age:
        return f"It has waited for {timesince(row.created_at, now)}."
    return ""


def spec_fingerprint(blueprint: Blueprint) -> str:
    """Changes when a sandbox would be made otherwise, whatever the images hold."""
    return _digest([blueprint.version, *(getattr(settings, name) for name in SPEC_SETTINGS)])


def spec_version(blueprint: Blueprint, images: dict[str, str]) -> str:
    """What a sandbox is made of, given the ids of images; empty when one is missing."""
    if any(image not in images for image in blueprint.images):
        return ""
    return f"{spec_fingerprint(blueprint)}-{_digest([images[image] for image in blueprint.images])}"


def _digest(values: list[object]) -> str:
    return hashlib.sha256(repr(values).encode()).hexdigest()[:12]


def pools() -> list[Pool]:
    """That of every blueprint, and of blueprints that are gone but have one, by name."""
    known = {pool.blueprint: pool for pool in Pool.objects.all()}
    names = sorted({*known, *blueprints.available()})
    return [known.get(name) or Pool(blueprint=name) for name in names]
