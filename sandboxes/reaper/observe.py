"""Apply to a row what a sweep observed on the engine."""

from __future__ import annotations

from collections import ChainMap, defaultdict
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from django.db.models import F

from sandboxes import blueprints
from sandboxes.core import leases
from sandboxes.core.reaper_policy import (
    Observation,
)
from sandboxes.lib import clock
from sandboxes.models import Engine, Sandbox, State
from sandboxes.runtime import (
    EngineUnreachable,
    NetworkBytes,
    ProbeResult,
    RuntimeFailure,
    SandboxFacts,
    call_engines,
    get_runtime,
)

TRAFFIC_NOISE_BYTES = 256
"""Less than one HTTP response, more than the traffic of an unused network between two sweeps."""
NEIGHBOR_BYTES = 42
"""A container's response to the host's ARP request, which follows a probe after some seconds."""
PROBE_SECONDS = 2.5
"""How long a sandbox may take to respond to a sweep; a worker that repairs it is more patient."""
ENGINE_PROBE_SECONDS = 8.0
"""Time for all probes of each of several engines, and to measure their traffic."""
OBSERVE_SECONDS = 10.0
"""How long each of several engines may take to list its sandboxes."""
CONTACT_SECONDS = 2.0
"""How long an engine that was away may take to describe itself, before it is asked for more."""
NO_TRAFFIC = NetworkBytes(0, 0)

FleetFacts = Mapping[str, Mapping[str, SandboxFacts]]
"""The sandboxes on each engine that answered: by the engine's name, then by their ids."""


def observe_engines(
    engines: Iterable[Engine],
) -> tuple[dict[str, dict[str, SandboxFacts]], dict[str, RuntimeFailure]]:
    """Observe all engines at once; return the facts and the failures, by engine.

    Those of several that are away are asked for a sign of life first, so that they hold up little.
    """
    engines = list(engines)
    away = [engine for engine in engines if engine.away_since] if len(engines) > 1 else []
    signs = {one.name: get_runtime(one.connection).capabilities for one in away}
    _, silent = call_engines(signs, CONTACT_SECONDS)
    calls = {one.name: partial(_observe, one) for one in engines if one.name not in silent}
    found, failures = call_engines(calls, OBSERVE_SECONDS)
    return found, silent | failures


def _observe(engine: Engine) -> dict[str, SandboxFacts]:
    """Return the sandboxes of one engine. Raise RuntimeFailure."""
    runtime = get_runtime(engine.connection)
    # Another engine at its address would make all of its sandboxes look lost.
    if engine.engine_id and not engine.is_default:
        found = runtime.capabilities().engine_id
        if found != engine.engine_id:
            raise EngineUnreachable("Another engine answers at its address.")
    return runtime.observe(sizes=True)


def facts_about(row: Sandbox, observed: FleetFacts) -> SandboxFacts | None:
    """Return what the sandbox's own engine knows of it."""
    return observed.get(row.engine_name, {}).get(row.public_id)


def portal_traffic() -> dict[int, NetworkBytes]:
    """Return the traffic of the portal's own requests by sandbox, read after the observation."""
    noted = Sandbox.objects.live().filter(portal_sent_bytes__gt=0)
    rows = noted.values_list("pk", "portal_received_bytes", "portal_sent_bytes")
    return {pk: NetworkBytes(received, sent) for pk, received, sent in rows}


def apply_facts(
    row: Sandbox,
    facts: SandboxFacts,
    probe: ProbeResult | None = None,
    portal: NetworkBytes = NO_TRAFFIC,
) -> tuple[str, ...]:
    """Update the row without saving it; return the names of the changed fields.

    Traffic counts as activity, except that of the probe and of the portal's own requests. Published
    ports may change when the engine restarts; a service that doesn't run has none.

    The row was read before the engine was observed, and `portal` afterwards: what the portal sent
    in between may be in the observation or in the next one, so it is left out of both.
    """
    values: dict[str, Any] = {}
    if facts.traffic_bytes is not None:
        # A counter that decreased has restarted at zero.
        restarted = facts.traffic_bytes < row.traffic_bytes
        own = NetworkBytes(row.portal_received_bytes, row.portal_sent_bytes)
        used = _without(facts, portal) - (0 if restarted else row.traffic_bytes)
        # Left out at each sweep, since it would add up to activity.
        verification = max(0, min(used, facts.neighbors * NEIGHBOR_BYTES))
        used -= verification
        if used >= TRAFFIC_NOISE_BYTES and row.state == State.RUNNING:
            values |= {"last_activity_at": clock.now_or_later(row.last_activity_at)}
        if own.sent:
            values |= {
                "portal_received_bytes": F("portal_received_bytes") - own.received,
                "portal_sent_bytes": F("portal_sent_bytes") - own.sent,
            }
        if restarted or own.sent or used >= TRAFFIC_NOISE_BYTES:
            values |= {"traffic_bytes": facts.traffic_bytes}
        elif verification:
            values |= {"traffic_bytes": row.traffic_bytes + verification}
        if probe and probe.traffic_bytes and probe.traffic_bytes > facts.traffic_bytes:
            counted = values.get("traffic_bytes", row.traffic_bytes)
            own_bytes = probe.traffic_bytes - facts.traffic_bytes
            values |= {"traffic_bytes": counted + own_bytes}
    if row.problem and probe and not probe.problem:
        values |= {"problem": ""}
    if facts.services and blueprints.addresses(facts) != row.addresses:
        values |= {"addresses": blueprints.addresses(facts)}
    for name, value in values.items():
        setattr(row, name, value)
    return tuple(values)


def _without(facts: SandboxFacts, own: NetworkBytes) -> int:
    """Return the traffic counter as it would be without these bytes."""
    if facts.network:
        return facts.network.without(own).activity_bytes
    return (facts.traffic_bytes or 0) - own.sent


def observe_row(
    row: Sandbox,
    observed: FleetFacts,
    probes: Mapping[str, ProbeResult],
) -> Observation:
    blueprint = blueprints.find_for_sandbox(row)
    return Observation(
        row.engine_id in observed,
        facts_about(row, observed),
        blueprint.published_ports if blueprint else {},
        probes.get(row.public_id),
    )


def probe(
    rows: Iterable[Sandbox], observed: FleetFacts
) -> tuple[dict[str, ProbeResult], dict[str, RuntimeFailure]]:
    """Probe all sandboxes whose services run, in parallel.

    Those on which a worker is working are left out. Return the results by sandbox id, and the
    failures by engine.
    """
    now = clock.now()
    chosen: dict[Engine, list[SandboxFacts]] = defaultdict(list)
    checks = {}
    for row in rows:
        found, blueprint = facts_about(row, observed), blueprints.find_for_sandbox(row)
        leased = leases.is_leased(row, now)
        if row.state not in (State.RUNNING, State.POOLED) or leased or not blueprint:
            continue
        if found and found.alive and found.connected:
            checks[row.public_id] = blueprint.ready
            chosen[row.engine].append(found)
    calls = {
        engine.name: partial(get_runtime(engine.connection).probe, facts, checks, PROBE_SECONDS)
        for engine, facts in chosen.items()
    }
    results, failures = call_engines(calls, ENGINE_PROBE_SECONDS)
    return dict(ChainMap(*results.values())), failures
