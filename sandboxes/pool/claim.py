"""Claim a sandbox from the warm pool for an owner."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sandboxes.core import lifecycle
from sandboxes.lib import clock
from sandboxes.models import ENGINE_AWAY, Pool, Sandbox, Site
from sandboxes.pool.policy import preference, staleness_reason

if TYPE_CHECKING:
    from sandboxes.blueprints import Blueprint


def claim(blueprint: Blueprint, chosen: Mapping[str, Any]) -> Sandbox | None:
    """Assign a pooled sandbox to an owner and start its lifetime; return None if there is none.

    Call this inside the transaction of the launch, which holds the lock on the site.
    """
    pool = Pool.objects.filter(blueprint=blueprint.name).first()
    if pool is None or Site.current().reaper_error.startswith(ENGINE_AWAY):
        return None
    now = clock.now()
    waiting = Sandbox.objects.pooled().filter(blueprint=blueprint.name)
    for row in sorted(waiting, key=preference):
        if not staleness_reason(row, pool, now) and lifecycle.assign(row, **chosen):
            return row
    return None
