"""Many at one moment: launches at a limit, sweeps over what is due, messages that come twice."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import Any, TypeVar

from django.db.models import Count, F

from sandboxes.models import Event, Sandbox, State
from tests.chaos.environment import World
from tests.chaos.portal_process import SANDBOXES, staged
from tests.chaos.processes import Processes
from tests.chaos.scenarios import SERVICES, Cast

T = TypeVar("T")
LIMIT = 3
MAKERS = 2


def run(
    world: World, rounds: int, at_once: int, due: int, sweeps: int, twice: int
) -> dict[str, Any]:
    """`rounds` times so many launches at once; so many sweeps at once over what is due; so many
    messages that are delivered twice."""
    cast = Cast(Processes(world.proxy))
    return {
        "twice": delivered_twice(world, cast, twice),
        "sweeps": swept_at_once(world, cast, due, sweeps),
        "admitted": launched_at_once(world, rounds, at_once),
    }


def together(count: int, act: Callable[[int], T]) -> list[T]:
    """Each in a thread of its own, all let go at one moment."""
    barrier = Barrier(count)

    def one(number: int) -> T:
        barrier.wait(timeout=30)
        return act(number)

    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(one, range(count)))


def launched_at_once(world: World, rounds: int, at_once: int) -> list[dict[str, int]]:
    """How often each status was answered, round by round; each is a new developer's."""
    found = []
    with staged(world, SANDBOX_MAX_PER_USER=str(LIMIT)) as portal:
        for number in range(rounds):
            callers = [portal.person(f"crowd-{number}") for _ in range(at_once)]

            def ask(which: int, callers: list[Any] = callers) -> int:
                status: int = callers[which]("POST", SANDBOXES, {}).status
                callers[which].close()
                return status

            answers = Counter(map(str, together(at_once, ask)))
            rows = Sandbox.objects.filter(owner__username=f"crowd-{number}").count()
            found.append(dict(answers) | {"rows": rows})
    return found


def swept_at_once(world: World, cast: Cast, due: int, sweeps: int) -> dict[str, Any]:
    """So many processes sweep at one moment over sandboxes that are all due."""
    cast.pool_of(0)
    makers = [cast.processes.start("lay_out", due // MAKERS) for _ in range(MAKERS)]
    for maker in makers:
        maker.wait(world.proxy)
    Sandbox.objects.running().update(expires_at=F("created_at") - timedelta(hours=1))
    made, began = Sandbox.objects.running().count(), time.perf_counter()
    reapers = [cast.processes.start("sweep") for _ in range(sweeps)]
    swept = [reaper.wait(world.proxy).value for reaper in reapers]
    took = time.perf_counter() - began
    endings = Event.objects.filter(kind="ending").values("sandbox").annotate(times=Count("pk"))
    return {
        "due": made,
        "sweeps": sweeps,
        "ended": Sandbox.objects.filter(state=State.DESTROYED).count(),
        "ended_twice": sum(row["times"] > 1 for row in endings),
        "errors": [error for one in swept for error in one["errors"]],
        "left": sum(len(ids) for held in world.held().values() for ids in held.values()),
        "seconds": round(took, 1),
    }


def delivered_twice(world: World, cast: Cast, times: int) -> dict[str, int]:
    """Two workers get the same message at one moment: to make, to reset, to tear down."""
    found: Counter[str] = Counter()
    for _ in range(times):
        cast.launched()
        sandbox = Sandbox.objects.latest("pk")
        _twice(cast, "provision", sandbox)
        held = world.held()[sandbox.public_id]
        found["containers"] += max(0, len(held["containers"]) - SERVICES)
        found["networks"] += max(0, len(held["networks"]) - 1)
        cast.processes.do("ask_to_reset", sandbox.public_id)
        _twice(cast, "put_back", sandbox)
        cast.processes.do("ask_to_end", sandbox.public_id)
        _twice(cast, "tear_down", sandbox)
        found["left"] += len(world.held().get(sandbox.public_id, {}))
        kinds = Counter(sandbox.events.values_list("kind", flat=True))
        found["lines"] += sum(kinds[kind] != 1 for kind in ("running", "reset", "destroyed"))
    return {name: found[name] for name in ("containers", "networks", "lines", "left")}


def _twice(cast: Cast, act: str, sandbox: Sandbox) -> None:
    for worker in [cast.processes.start(act, sandbox.public_id) for _ in range(2)]:
        worker.wait(cast.processes.proxy)
