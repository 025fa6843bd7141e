"""Claim a sandbox from the warm pool for an owner."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sandboxes.core import lifecycle
from sandboxes.lib import clock
from sandboxes.models import Pool, Sandbox
from sandboxes.pool.policy import preference, staleness_reason


def claim(pool: Pool, chosen: Mapping[str, Any]) -> Sandbox | None:
    """Assign a pooled sandbox to an owner and start its lifetime; return None if there is none.

    Call this inside the transaction of the launch, which holds the launch lock.
    """
    now = clock.now()
    waiting = Sandbox.objects.pooled().filter(blueprint=pool.blueprint)
    for row in sorted(waiting, key=preference):
        if not staleness_reason(row, pool, now) and lifecycle.assign(row, **chosen):
            return row
    return None
