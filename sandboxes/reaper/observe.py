"""What a sweep observed of a sandbox, recorded on its row."""

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
"""Less than one HTTP answer, more than what an unused network sees between two sweeps."""


def apply_facts(row: Sandbox, facts: SandboxFacts) -> tuple[str, ...]:
    """Have the row, unsaved, say what was seen; the columns that changed.

    Traffic is activity; published ports may have changed with a restart of the engine.
    """
    values: dict[str, object] = {}
    if facts.traffic_bytes is not None:
        # A counter that went back began again.
        again = facts.traffic_bytes < row.traffic_bytes
        moved = facts.traffic_bytes - (0 if again else row.traffic_bytes)
        if moved >= TRAFFIC_NOISE_BYTES and row.state == State.RUNNING:
            values |= {"last_activity_at": clock.now_or_later(row.last_activity_at)}
        if again or moved >= TRAFFIC_NOISE_BYTES:
            values |= {"traffic_bytes": facts.traffic_bytes}
    if facts.alive and blueprints.addresses(facts) != row.addresses:
        values |= {"addresses": blueprints.addresses(facts)}
    for name, value in values.items():
        setattr(row, name, value)
    return tuple(values)


def observation(row: Sandbox, observed: Mapping[str, SandboxFacts] | None) -> Observation:
    blueprint = blueprints.available().get(row.blueprint)
    services = [service.name for service in blueprint.services] if blueprint else []
    return Observation(observed is not None, (observed or {}).get(row.public_id), services)
