"""Concurrency: launches at the quota, sweeps over due sandboxes, duplicate messages."""

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
from tests.bench.http_client import HttpClient
from tests.chaos.environment import ChaosEnvironment
from tests.chaos.portal_process import SANDBOXES, running_chaos_portal
from tests.chaos.processes import Processes
from tests.chaos.scenarios import SERVICES, ScenarioHarness

T = TypeVar("T")
LIMIT = 3
CREATORS = 2


def run(
    env: ChaosEnvironment,
    rounds: int,
    parallel_launches: int,
    due: int,
    sweeps: int,
    duplicates: int,
) -> dict[str, Any]:
    """Run parallel launches, parallel sweeps over due sandboxes, and duplicate messages.

    There are `rounds` of launches. All messages of `duplicates` sandboxes are delivered twice.
    """
    harness = ScenarioHarness(Processes(env.proxy))
    return {
        "duplicates": deliver_twice(env, harness, duplicates),
        "sweeps": sweep_in_parallel(env, harness, due, sweeps),
        "admitted": launch_in_parallel(env, rounds, parallel_launches),
    }


def run_parallel(count: int, function: Callable[[int], T]) -> list[T]:
    """Call the function with each number below `count`, in threads that start at once."""
    barrier = Barrier(count)

    def one(number: int) -> T:
        barrier.wait(timeout=30)
        return function(number)

    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(one, range(count)))


def launch_in_parallel(env: ChaosEnvironment, rounds: int, launches: int) -> list[dict[str, int]]:
    """Return for each round, which has a new developer, the responses by status, and the rows."""
    counts = []
    with running_chaos_portal(env, SANDBOX_MAX_PER_USER=str(LIMIT)) as portal:
        for number in range(rounds):
            clients = [portal.api_client(f"concurrent-{number}") for _ in range(launches)]

            def launch(which: int, clients: list[HttpClient] = clients) -> int:
                status = clients[which]("POST", SANDBOXES, {}).status
                clients[which].close()
                return status

            statuses = Counter(map(str, run_parallel(launches, launch)))
            rows = Sandbox.objects.filter(owner__username=f"concurrent-{number}").count()
            counts.append(dict(statuses) | {"rows": rows})
    return counts


def sweep_in_parallel(
    env: ChaosEnvironment, harness: ScenarioHarness, due: int, sweeps: int
) -> dict[str, Any]:
    """Sweep in parallel processes over sandboxes that are all due."""
    harness.set_pool_size(0)
    start = harness.processes.start
    creators = [start("create_unstarted", due // CREATORS) for _ in range(CREATORS)]
    for creator in creators:
        creator.wait(env.proxy)
    Sandbox.objects.running().update(expires_at=F("created_at") - timedelta(hours=1))
    running, began = Sandbox.objects.running().count(), time.perf_counter()
    reapers = [start("sweep") for _ in range(sweeps)]
    swept = [reaper.wait(env.proxy).value for reaper in reapers]
    seconds = time.perf_counter() - began
    endings = Event.objects.filter(kind="ending").values("sandbox").annotate(times=Count("pk"))
    return {
        "due": running,
        "sweeps": sweeps,
        "ended": Sandbox.objects.filter(state=State.DESTROYED).count(),
        "ended_twice": sum(row["times"] > 1 for row in endings),
        "errors": [error for one in swept for error in one["errors"]],
        "left": sum(len(ids) for objects in env.objects().values() for ids in objects.values()),
        "seconds": round(seconds, 1),
    }


def deliver_twice(env: ChaosEnvironment, harness: ScenarioHarness, times: int) -> dict[str, int]:
    """Deliver the messages to provision, reset and destroy to two workers at once.

    Returns the number of superfluous containers, networks and events, and of objects left.
    """
    counts: Counter[str] = Counter()
    for _ in range(times):
        harness.launch()
        sandbox = Sandbox.objects.latest("pk")
        _run_twice(harness, "provision", sandbox)
        objects = env.objects()[sandbox.public_id]
        counts["containers"] += max(0, len(objects["containers"]) - SERVICES)
        counts["networks"] += max(0, len(objects["networks"]) - 1)
        harness.processes.run("request_reset", sandbox.public_id)
        _run_twice(harness, "reset", sandbox)
        harness.processes.run("request_destroy", sandbox.public_id)
        _run_twice(harness, "destroy", sandbox)
        counts["left"] += len(env.objects().get(sandbox.public_id, {}))
        kinds = Counter(sandbox.events.values_list("kind", flat=True))
        counts["events"] += sum(kinds[kind] != 1 for kind in ("running", "reset", "destroyed"))
    return {name: counts[name] for name in ("containers", "networks", "events", "left")}


def _run_twice(harness: ScenarioHarness, operation: str, sandbox: Sandbox) -> None:
    for worker in [harness.processes.start(operation, sandbox.public_id) for _ in range(2)]:
        worker.wait(harness.processes.proxy)
