"""Kill processes at scheduled points; after every batch of kills, sweep once and check."""

from __future__ import annotations

import random
import time
from collections import Counter
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from sandboxes.models import Sandbox, State
from tests.chaos.environment import OBJECT_KINDS, SETTLE_SECONDS, ChaosEnvironment
from tests.chaos.fault_schedule import CALL, FaultSchedule, shuffled_points
from tests.chaos.portal_process import responds
from tests.chaos.processes import Processes
from tests.chaos.scenarios import SCENARIOS, SERVICES, ScenarioHarness, count_points
from tests.chaos.unrelated_objects import create_unrelated_objects

KILLS_PER_SWEEP = 8
CLOCK_STEP_SECONDS = 61
"""After this time all leases and the grace period of orphans have expired."""


@dataclass
class KillStats:
    """What was killed, and what was left behind."""

    kills: Counter[str] = field(default_factory=Counter)
    points: set[str] = field(default_factory=set)
    """Engine calls before or after which a process was killed, by scenario."""
    minor_faults: int = 0
    stuck: Counter[str] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)
    sweeps: list[float] = field(default_factory=list)
    ports: set[int] = field(default_factory=set)


def run(
    env: ChaosEnvironment, kills: int, seed: str, share: tuple[int, int] = (0, 1)
) -> dict[str, Any]:
    """Kill this many processes. `share` is this run's part of the points at engine calls."""
    harness, stats = ScenarioHarness(Processes(env.proxy)), KillStats()
    created = create_unrelated_objects(env)
    before = env.unrelated_objects()
    counts = count_points(harness)
    rng = random.Random(f"{seed}-{share}")
    schedule = FaultSchedule(rng, shuffled_points(seed, counts, share), counts)
    left = kills
    while left > 0:
        left -= run_batch(harness, stats, schedule, min(KILLS_PER_SWEEP, left))
        sweep_and_check(env, harness, stats)
    remove_and_check(env, harness, stats)
    return {
        "kills": dict(stats.kills),
        "points": sorted(stats.points),
        "total_points": len(shuffled_points(seed, counts)),
        "minor_faults": stats.minor_faults,
        "stuck": {name: stats.stuck[name] for name in (*OBJECT_KINDS, "ports", "rows")},
        "errors": stats.errors,
        "sweep_seconds": stats.sweeps,
        "unrelated": {"created": created, "changed": env.unrelated_objects() != before},
    }


def run_batch(
    harness: ScenarioHarness, stats: KillStats, schedule: FaultSchedule, count: int
) -> int:
    """Run this many scenarios; return how many of them ended with a kill."""
    killed = 0
    for planned in islice(schedule, count):
        prepare, operation = SCENARIOS[planned.scenario]
        prepare(harness)
        outcome = harness.processes.run(operation, at=planned.at, faults=planned.minor_faults)
        stats.minor_faults += len(planned.minor_faults)
        if outcome.killed:
            killed += 1
            stats.kills[f"{planned.scenario}: {planned.at.kind}"] += 1
            if planned.at.kind == CALL:
                stats.points.add(f"{planned.scenario}: {planned.at}")
        else:
            schedule.requeue(planned)
    return killed


def sweep_and_check(env: ChaosEnvironment, harness: ScenarioHarness, stats: KillStats) -> None:
    """Sweep once, process the queue, and count what is stuck. Then destroy all sandboxes."""
    time.sleep(SETTLE_SECONDS)
    harness.processes.clock_offset += CLOCK_STEP_SECONDS
    began = time.perf_counter()
    swept = harness.processes.result("sweep")
    harness.processes.run("process_queue")
    stats.sweeps.append(round(time.perf_counter() - began, 2))
    stats.errors += swept["errors"]
    count_stuck(env, stats)
    for row in Sandbox.objects.running():
        harness.processes.run("request_destroy", row.public_id)
    harness.processes.run("process_queue")


def count_stuck(env: ChaosEnvironment, stats: KillStats) -> None:
    rows = {row.public_id: row for row in Sandbox.objects.live()}
    for row in rows.values():
        problem = problem_with(row, stats)
        if problem:
            stats.stuck["rows"] += 1
            stats.errors.append(f"{row.public_id} {problem}")
    for sandbox, objects in env.objects().items():
        expected = expected_objects(rows.get(sandbox))
        for kind, ids in objects.items():
            stats.stuck[kind] += max(0, len(ids) - expected.get(kind, 0))


def expected_objects(row: Sandbox | None) -> dict[str, int]:
    """Return the number of engine objects of a sandbox; a claim from the pool is a volume."""
    if row is None:
        return {}
    claimed = row.from_pool and row.state == State.RUNNING
    return {"containers": SERVICES, "networks": 1, "volumes": int(claimed)}


def problem_with(row: Sandbox, stats: KillStats) -> str:
    """Return why the sandbox is stuck; empty if it runs as its row says."""
    if row.state not in (State.RUNNING, State.POOLED):
        return f"is {row.state}"
    if row.leased_until or row.reset_requested_at:
        return "waits for a worker"
    (address,) = row.addresses.values()
    stats.ports.add(int(address.rpartition(":")[2]))
    return "" if responds(address) else "is marked as running but doesn't respond"


def remove_and_check(env: ChaosEnvironment, harness: ScenarioHarness, stats: KillStats) -> None:
    """Remove everything; what is left then is stuck, too."""
    harness.processes.run("empty_pool")
    harness.set_pool_size(0)
    sweep_and_check(env, harness, stats)
    for objects in env.objects().values():
        for kind, ids in objects.items():
            stats.stuck[kind] += len(ids)
    stats.stuck["rows"] += Sandbox.objects.live().count()
    stats.stuck["ports"] += len(stats.ports & env.leaked_ports())
