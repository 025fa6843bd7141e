"""Apply to a row what a sweep observed on the engine."""

from __future__ import annotations

from collections.abc import Mapping

from sandboxes import blueprints
from sandboxes.core.reaper_policy import (
    Observation,
)
from sandboxes.lib import clock
from sandboxes.models import Sandbox, State
from sandboxes.runtime import SandboxFacts

TRAFFIC_NOISE_BYTES = 256
"""Less than one HTTP response, more than the traffic of an unused network between two sweeps."""


def apply_facts(row: Sandbox, facts: SandboxFacts) -> tuple[str, ...]:
    """Update the row without saving it; return the names of the changed fields.

    Traffic counts as activity. Published ports may change when the engine restarts.
    """
    values: dict[str, object] = {}
    if facts.traffic_bytes is not None:
        # A counter that decreased has restarted at zero.
        restarted = facts.traffic_bytes < row.traffic_bytes
        new_bytes = facts.traffic_bytes - (0 if restarted else row.traffic_bytes)
        if new_bytes >= TRAFFIC_NOISE_BYTES and row.state == State.RUNNING:
            values |= {"last_activity_at": clock.now_or_later(row.last_activity_at)}
        if restarted or new_bytes >= TRAFFIC_NOISE_BYTES:
            values |= {"traffic_bytes": facts.traffic_bytes}
    if facts.alive and blueprints.addresses(facts) != row.addresses:
        values |= {"addresses": blueprints.addresses(facts)}
    for name, value in values.items():
        setattr(row, name, value)
    return tuple(values)


def observe_row(row: Sandbox, observed: Mapping[str, SandboxFacts] | None) -> Observation:
    blueprint = blueprints.available().get(row.blueprint)
    services = [service.name for service in blueprint.services] if blueprint else []
    return Observation(observed is not None, (observed or {}).get(row.public_id), services)
