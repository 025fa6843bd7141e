"""Processes are killed at random points, and once in a while the portal is swept, once.

The schedule follows from the seed: a deck of all points before and after engine calls is shuffled
and dealt, and between its cards processes die at statements of the database and messages. How far
a process comes is the engine's doing too, so a repeated run is alike, and not the same.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from sandboxes.models import Sandbox, State
from tests.chaos.foreign import plant
from tests.chaos.processes import CALL, Point, Processes
from tests.chaos.scenes import SCENES, SERVICES, Cast, Scene, rehearse
from tests.chaos.staging import answers
from tests.chaos.world import KINDS, World
from tests.relay import Fault

BATCH = 8
"""So many kills lie between two sweeps."""
LATER_SECONDS = 61
"""By then every lease is over, and the grace of orphans too."""
LESSER = (Fault.LOSE, Fault.REFUSE, Fault.DELAY)
SETTLES_IN_SECONDS = 0.5
"""What the engine was asked last, it may still be doing."""
OF_THE_DECK = 0.6


@dataclass
class Tally:
    """What was done, and what was left."""

    kills: Counter[str] = field(default_factory=Counter)
    points: set[tuple[str, str]] = field(default_factory=set)
    """Engine calls before or after which a process was killed, by scene."""
    lesser: int = 0
    stuck: Counter[str] = field(default_factory=Counter)
    complaints: list[str] = field(default_factory=list)
    sweeps: list[float] = field(default_factory=list)
    ports: set[int] = field(default_factory=set)


def run(world: World, kills: int, seed: str, share: tuple[int, int] = (0, 1)) -> dict[str, Any]:
    """Kill so often. `share`: every how-manieth card of the deck is this run's, from which on."""
    cast, tally = Cast(Processes(world.relay)), Tally()
    planted = plant(world)
    before = world.foreign()
    rehearsed = rehearse(cast)
    schedule = plan(random.Random(f"{seed}-{share}"), deck(seed, rehearsed, share), rehearsed)
    left = kills
    while left > 0:
        left -= play(cast, tally, schedule, min(BATCH, left))
        settle(world, cast, tally)
    close(world, cast, tally)
    return {
        "kills": dict(tally.kills),
        "points": [len(tally.points), len(deck(seed, rehearsed))],
        "lesser": tally.lesser,
        "stuck": {name: tally.stuck[name] for name in (*KINDS, "ports", "rows")},
        "complaints": tally.complaints,
        "sweep_seconds": tally.sweeps,
        "foreign": {"planted": planted, "touched": world.foreign() != before},
    }


def deck(
    seed: str, rehearsed: dict[str, dict[str, int]], share: tuple[int, int] = (0, 1)
) -> list[tuple[Scene, Point]]:
    """Every point before and after an engine call, of this share, in the seed's order."""
    cards = [
        (scene, Point(CALL, number, after=after))
        for scene in SCENES
        for number in range(1, rehearsed[scene.name].get(CALL, 0) + 1)
        for after in (False, True)
    ]
    random.Random(seed).shuffle(cards)
    return cards[share[0] :: share[1]]


def plan(
    chance: random.Random, cards: list[tuple[Scene, Point]], rehearsed: dict[str, dict[str, int]]
) -> Iterator[tuple[Scene, Point, dict[int, Fault]]]:
    """One kill after the other, without end."""
    left = list(cards)
    while True:
        if not left or chance.random() > OF_THE_DECK:
            scene = chance.choice(SCENES)
            kind = chance.choice([k for k in scene.kinds if rehearsed[scene.name][k]])
            number = chance.randint(1, rehearsed[scene.name][kind])
            point = Point(kind, number, after=chance.random() < 0.5)
        else:
            scene, point = left.pop()
        yield scene, point, lesser_faults(chance, rehearsed[scene.name].get(CALL, 0))


def lesser_faults(chance: random.Random, calls: int) -> dict[int, Fault]:
    """One in five acts meets an engine that is slow, refuses, or loses an answer besides."""
    if not calls or chance.random() > 0.2:
        return {}
    return {chance.randint(1, calls): chance.choice(LESSER)}


def play(
    cast: Cast, tally: Tally, schedule: Iterator[tuple[Scene, Point, dict[int, Fault]]], count: int
) -> int:
    """As many acts as kills are wanted; how many of them ended with one."""
    killed = 0
    for _ in range(count):
        scene, point, lesser = next(schedule)
        scene.prepare(cast)
        outcome = cast.processes.do(scene.act, at=point, faults=lesser)
        if outcome.killed:
            killed += 1
            tally.kills[f"{scene.name}: {point.kind}"] += 1
            tally.points |= {(scene.name, str(point))} if point.kind == CALL else set()
        tally.lesser += len(lesser)
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
