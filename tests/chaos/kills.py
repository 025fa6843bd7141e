"""Processes are killed at random points, and once in a while the portal is swept, once."""

from __future__ import annotations

import random
import time
from collections import Counter
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from sandboxes.models import Sandbox, State
from tests.chaos.environment import KINDS, SETTLES_IN_SECONDS, World
from tests.chaos.fault_schedule import CALL, Schedule, deck
from tests.chaos.portal_process import answers
from tests.chaos.processes import Processes
from tests.chaos.scenarios import SCENES, SERVICES, Cast, rehearse
from tests.chaos.unrelated_objects import plant

BATCH = 8
"""So many kills lie between two sweeps."""
LATER_SECONDS = 61
"""By then every lease is over, and the grace of orphans too."""


@dataclass
class Tally:
    """What was done, and what was left."""

    kills: Counter[str] = field(default_factory=Counter)
    points: set[str] = field(default_factory=set)
    """Engine calls before or after which a process was killed, by scene."""
    lesser: int = 0
    stuck: Counter[str] = field(default_factory=Counter)
    complaints: list[str] = field(default_factory=list)
    sweeps: list[float] = field(default_factory=list)
    ports: set[int] = field(default_factory=set)


def run(world: World, kills: int, seed: str, share: tuple[int, int] = (0, 1)) -> dict[str, Any]:
    """Kill so often. `share`: every how-manieth card of the deck is this run's, from which on."""
    cast, tally = Cast(Processes(world.proxy)), Tally()
    planted = plant(world)
    before = world.foreign()
    rehearsed = rehearse(cast)
    chance = random.Random(f"{seed}-{share}")
    schedule = Schedule(chance, deck(seed, rehearsed, share), rehearsed)
    left = kills
    while left > 0:
        left -= play(cast, tally, schedule, min(BATCH, left))
        settle(world, cast, tally)
    close(world, cast, tally)
    return {
        "kills": dict(tally.kills),
        "points": sorted(tally.points),
        "points_in_all": len(deck(seed, rehearsed)),
        "lesser": tally.lesser,
        "stuck": {name: tally.stuck[name] for name in (*KINDS, "ports", "rows")},
        "complaints": tally.complaints,
        "sweep_seconds": tally.sweeps,
        "foreign": {"planted": planted, "touched": world.foreign() != before},
    }


def play(cast: Cast, tally: Tally, schedule: Schedule, count: int) -> int:
    """So many acts; how many of them ended with a kill."""
    killed = 0
    for planned in islice(schedule, count):
        prepare, act = SCENES[planned.scene]
        prepare(cast)
        outcome = cast.processes.do(act, at=planned.at, faults=planned.lesser)
        tally.lesser += len(planned.lesser)
        if outcome.killed:
            killed += 1
            tally.kills[f"{planned.scene}: {planned.at.kind}"] += 1
            if planned.at.kind == CALL:
                tally.points.add(f"{planned.scene}: {planned.at}")
        else:
            schedule.put_back(planned)
    return killed


def settle(world: World, cast: Cast, tally: Tally) -> None:
    """One sweep, and what it has a worker do; what is wrong then is stuck."""
    time.sleep(SETTLES_IN_SECONDS)
    cast.processes.later += LATER_SECONDS
    began = time.perf_counter()
    swept = cast.processes.value("sweep")
    cast.processes.do("deliver")
    tally.sweeps.append(round(time.perf_counter() - began, 2))
    tally.complaints += swept["errors"]
    count_stuck(world, tally)
    for row in Sandbox.objects.running():
        cast.processes.do("ask_to_end", row.public_id)
    cast.processes.do("deliver")


def count_stuck(world: World, tally: Tally) -> None:
    rows = {row.public_id: row for row in Sandbox.objects.live()}
    for row in rows.values():
        trouble = wrong_with(row, tally)
        if trouble:
            tally.stuck["rows"] += 1
            tally.complaints.append(f"{row.public_id} {trouble}")
    wanted = {"containers": SERVICES, "networks": 1, "volumes": 0}
    for sandbox, held in world.held().items():
        for kind, ids in held.items():
            extra = len(ids) - (wanted[kind] if sandbox in rows else 0)
            tally.stuck[kind] += max(0, extra)


def wrong_with(row: Sandbox, tally: Tally) -> str:
    """What keeps the sandbox from being there or gone; nothing when it is as its row says."""
    if row.state not in (State.RUNNING, State.POOLED):
        return f"is {row.state}"
    if row.lease_until or row.reset_requested_at:
        return "waits for a worker"
    (address,) = row.addresses.values()
    tally.ports.add(int(address.rpartition(":")[2]))
    return "" if answers(address) else "is said to run, and does not answer"


def close(world: World, cast: Cast, tally: Tally) -> None:
    """Everything is ended; what is left then is stuck as well."""
    cast.processes.do("empty_the_pool")
    cast.pool_of(0)
    settle(world, cast, tally)
    for held in world.held().values():
        for kind, ids in held.items():
            tally.stuck[kind] += len(ids)
    tally.stuck["rows"] += Sandbox.objects.live().count()
    tally.stuck["ports"] += len(tally.ports & world.ports_without_a_container())
