"""Claim a sandbox from the warm pool for an owner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sandboxes.core import lifecycle
from sandboxes.lib import clock
from sandboxes.models import Engine, Pool, Sandbox
from sandboxes.pool.policy import preference, staleness_reason


def claim(pool: Pool, engines: Sequence[Engine], chosen: Mapping[str, Any]) -> Sandbox | None:
    """Assign a pooled sandbox to an owner and start its lifetime; return None if there is none.

    It is one of these engines, of the first one if possible. Call this inside the transaction of
    the launch, which holds the launch lock.
    """
    now, order = clock.now(), {engine.name: place for place, engine in enumerate(engines)}
    waiting = Sandbox.objects.pooled().filter(blueprint=pool.blueprint, engine__in=order)
    for row in sorted(waiting, key=lambda row: (order[row.engine_name], preference(row))):
        if not staleness_reason(row, pool, now) and lifecycle.assign(row, **chosen):
            return row
    return None
